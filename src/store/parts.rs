//! An image as it is stored, and its fields as they stand in the record: for who writes them down elsewhere
//! and has no other use for them.

use bytes::Bytes;
use prost::encoding::decode_varint;

use super::{Stored, schema, wire};
use crate::domain::{Digest, Image, Labels, MediaType, Size, Timestamp};
use crate::error::Error;

/// A row of an image. Most of them have not been read.
#[derive(Clone, Debug)]
pub(crate) struct StoredImage {
    name: Bytes,
    record: Bytes,
    /// What it holds, where somebody had to know.
    image: Option<Box<Image>>,
}

/// The fields of a record.
pub(crate) struct Parts<'a> {
    pub name: &'a str,
    pub media_type: &'a str,
    pub digest: Digest,
    pub size: u64,
    pub annotations: Entries<'a>,
    /// Whether the target has URLs, a platform, an artifact type or data.
    pub has_more: bool,
    pub labels: Entries<'a>,
    /// Encoded as the fields of a `google.protobuf.Timestamp`.
    pub created_at: &'a [u8],
    pub updated_at: &'a [u8],
}

/// The entries of a map, encoded, each with its head.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a>(&'a [u8]);

// === impl StoredImage ===

impl StoredImage {
    /// The row of a table of images.
    pub(super) fn new(name: Bytes, record: Bytes) -> Self {
        Self {
            name,
            record,
            image: None,
        }
    }

    #[cfg(test)]
    pub fn of(image: &Image) -> Self {
        let record = wire::encode_image(image, 7).unwrap();
        Self::new(schema::image_row(&image.name), record)
    }

    /// The same with another record, which may be none.
    #[cfg(test)]
    pub fn with(&self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut record = self.record.to_vec();
        change(&mut record);
        Self::new(self.name.clone(), record.into())
    }

    /// The bytes of the name, by which images are ordered.
    pub fn name(&self) -> &Bytes {
        &self.name
    }

    /// What the name and the record take.
    pub(super) fn bytes(&self) -> usize {
        self.name.len() + self.record.len()
    }

    /// [`Error::Corrupt`] where it cannot be read.
    pub fn read(self) -> Result<Image, Error> {
        match self.image {
            Some(image) => Ok(*image),
            None => {
                let name = schema::parse_name(&self.name)?;
                Ok(wire::decode_image(name, self.record)?.image)
            }
        }
    }

    /// What it holds, read no more than once. [`Error::Corrupt`] as [`Self::read`].
    pub(super) fn image(&mut self) -> Result<&Image, Error> {
        if self.image.is_none() {
            self.image = Some(Box::new(self.clone().read()?));
        }
        Ok(self.image.as_ref().expect("it was put there"))
    }

    /// The fields, if they stand as this release writes them and may be so; [`Self::read`] says what is wrong with
    /// others.
    pub fn parts(&self) -> Option<Parts<'_>> {
        // The tags of `imagestore.storage.v1`, in the order of the numbers.
        let mut record = Fields(&self.record);
        let mut v1 = record.message(1)?;
        let mut target = v1.message(1)?;
        let media_type = target.text(1)?;
        MediaType::check(media_type).ok()?;
        let (digest, []) = schema::split_digest(target.bytes(2)?)? else {
            return None;
        };
        let size = Size::try_from(target.number(3)?).ok()?.get();
        let annotations = target.entries(4, |key, _| !key.is_empty())?;
        let has_more = !target.0.is_empty();
        target.skip_texts()?;
        let labels = v1.entries(2, |key, value| Labels::check(key, value).is_ok())?;
        let created_at = v1.instant(3)?;
        let updated_at = v1.instant(4)?;
        v1.some_number(5)?;
        let is_read = record.0.is_empty() && v1.0.is_empty();
        is_read.then_some(Parts {
            name: str::from_utf8(&self.name).ok()?,
            media_type,
            digest,
            size,
            annotations,
            has_more,
            labels,
            created_at,
            updated_at,
        })
    }
}

impl Stored<StoredImage> {
    /// [`Error::Corrupt`] where it cannot be read.
    pub(crate) fn read(self) -> Result<Stored<Image>, Error> {
        Ok(Stored {
            namespace: self.namespace,
            record: self.record.read()?,
            revision: self.revision,
        })
    }
}

// === impl Entries ===

impl<'a> Entries<'a> {
    /// What they take as the entries of another field, of a number below 16 too.
    pub fn bytes(self) -> usize {
        self.0.len()
    }

    /// The encoded pairs: keys are their fields 1, and values 2.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut fields = Fields(self.0);
        std::iter::from_fn(move || {
            let tag = u32::from(*fields.0.first()?);
            fields.bytes(tag >> 3)
        })
    }
}

// === reading ===

/// How the value of a field is encoded.
const NUMBER: u8 = 0;
const BYTES: u8 = 2;

/// What is left of a message to read. `None` from a method: it is not so.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Whether the next field is this one, of a number below 16.
    fn has(&self, field: u32, kind: u8) -> bool {
        self.0.first().copied().map(u32::from) == Some(field << 3 | u32::from(kind))
    }

    fn number(&mut self, field: u32) -> Option<u64> {
        if !self.has(field, NUMBER) {
            return None;
        }
        self.0 = &self.0[1..];
        decode_varint(&mut self.0).ok()
    }

    /// A number, or zero, which is left out.
    fn some_number(&mut self, field: u32) -> Option<u64> {
        match self.has(field, NUMBER) {
            true => self.number(field),
            false => Some(0),
        }
    }

    fn bytes(&mut self, field: u32) -> Option<&'a [u8]> {
        if !self.has(field, BYTES) {
            return None;
        }
        self.0 = &self.0[1..];
        let bytes = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
        let (value, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(value)
    }

    fn message(&mut self, field: u32) -> Option<Self> {
        self.bytes(field).map(Self)
    }

    fn text(&mut self, field: u32) -> Option<&'a str> {
        str::from_utf8(self.bytes(field)?).ok()
    }

    /// A text, or the empty one, which is left out.
    fn some_text(&mut self, field: u32) -> Option<&'a str> {
        match self.has(field, BYTES) {
            true => self.text(field),
            false => Some(""),
        }
    }

    fn entries(&mut self, field: u32, may_be: fn(&str, &str) -> bool) -> Option<Entries<'a>> {
        let all = self.0;
        while self.has(field, BYTES) {
            let mut pair = self.message(field)?;
            let (key, value) = (pair.some_text(1)?, pair.some_text(2)?);
            if !pair.0.is_empty() || !may_be(key, value) {
                return None;
            }
        }
        Some(Entries(&all[..all.len() - self.0.len()]))
    }

    fn instant(&mut self, field: u32) -> Option<&'a [u8]> {
        let encoded = self.bytes(field)?;
        let mut parts = Fields(encoded);
        let [seconds, nanos] = [parts.some_number(1)?, parts.some_number(2)?];
        // Negative ones are encoded as the unsigned numbers of the same bits.
        Timestamp::new(seconds.cast_signed(), u32::try_from(nanos).ok()?).ok()?;
        parts.0.is_empty().then_some(encoded)
    }

    /// What follows, all of it texts and the like.
    fn skip_texts(mut self) -> Option<()> {
        while let Some(tag) = self.0.first() {
            self.bytes(u32::from(*tag) >> 3)?;
        }
        Some(())
    }
}
