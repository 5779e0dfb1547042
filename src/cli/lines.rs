//! Reading lines of text whose length is bounded, from plain or gzip files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Lines with their numbers, from 1.
pub struct Lines<R> {
    reader: R,
    number: u64,
    buffer: Vec<u8>,
}

/// A line that cannot be read as one; the next can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    #[error("the line has more than {MAX_LINE_BYTES} bytes")]
    TooLong,
    #[error("the line is not valid UTF-8 (byte {})", .after + 1)]
    NotUtf8 { after: usize },
}

/// A record has at most 256 KiB; JSON and base64 make it longer.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What a gzip file begins with, and no JSON text does.
const GZIP_MAGIC: u8 = 0x1f;

/// Opens a file, or standard input for `-`.
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    match path.as_os_str().to_str() {
        Some("-") => Ok(Box::new(io::stdin())),
        _ => Ok(Box::new(File::open(path)?)),
    }
}

/// The text of what is read, unpacked where it is packed.
pub fn unpacked(reader: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut reader = BufReader::new(reader);
    match reader.fill_buf()?.first() {
        Some(&GZIP_MAGIC) => Ok(Box::new(BufReader::new(MultiGzDecoder::new(reader)))),
        _ => Ok(Box::new(reader)),
    }
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            number: 0,
            buffer: Vec::new(),
        }
    }

    /// The next line that is not blank, without its end.
    pub fn next(&mut self) -> io::Result<Option<(u64, Result<&str, BadLine>)>> {
        loop {
            let Some(is_whole) = self.fill()? else {
                return Ok(None);
            };
            self.number += 1;
            if !is_whole {
                return Ok(Some((self.number, Err(BadLine::TooLong))));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let line = str::from_utf8(&self.buffer).map_err(|why| BadLine::NotUtf8 {
            after: why.valid_up_to(),
        });
        Ok(Some((self.number, line)))
    }

    /// Reads a line into the buffer and says whether it fitted; `None` at the end of the file.
    fn fill(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let mut is_whole = true;
        let mut is_end = true;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => return Err(why),
            };
            if chunk.is_empty() {
                return Ok((!is_end).then_some(is_whole));
            }
            is_end = false;
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let text = &chunk[..newline.unwrap_or(chunk.len())];
            is_whole &= self.buffer.len() + text.len() <= MAX_LINE_BYTES;
            if is_whole {
                self.buffer.extend_from_slice(text);
            }
            let consumed = newline.map_or(chunk.len(), |at| at + 1);
            self.reader.consume(consumed);
            if newline.is_some() {
                return Ok(Some(is_whole));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read(content: &[u8]) -> Vec<(u64, Result<String, BadLine>)> {
        // Small chunks, so that lines lie across them.
        let mut lines = Lines::new(BufReader::with_capacity(3, content));
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            all.push((number, line.map(str::to_owned)));
        }
        all
    }

    #[test]
    fn lines_are_numbered_from_one_and_blank_ones_are_counted_and_passed_over() {
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\n \r\n"), []);
        assert_eq!(
            read(b"one\n\n  \ntwo\r\nthree"),
            [
                (1, Ok("one".into())),
                (4, Ok("two\r".into())),
                (5, Ok("three".into()))
            ]
        );
    }

    #[test]
    fn a_bad_line_does_not_spoil_the_next() {
        let mut content = b"caf\xc3\n".to_vec();
        content.extend(vec![b'x'; MAX_LINE_BYTES + 1]);
        content.extend(b"\ngood\n");
        assert_eq!(
            read(&content),
            [
                (1, Err(BadLine::NotUtf8 { after: 3 })),
                (2, Err(BadLine::TooLong)),
                (3, Ok("good".into()))
            ]
        );
        let longest = vec![b'x'; MAX_LINE_BYTES];
        assert!(read(&longest)[0].1.is_ok());
    }

    #[test]
    fn gzip_is_known_by_its_first_byte_and_may_have_several_members() {
        let mut packed = Vec::new();
        for text in ["one\n", "two\n"] {
            let mut encoder = GzEncoder::new(&mut packed, Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        let mut text = String::new();
        unpacked(io::Cursor::new(packed.clone()))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "one\ntwo\n");
        packed.truncate(packed.len() - 3);
        let cut = unpacked(io::Cursor::new(packed))
            .unwrap()
            .read_to_string(&mut text);
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        text.clear();
        unpacked(&b"plain"[..])
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "plain");
    }
}
