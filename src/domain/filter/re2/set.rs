//! Sets of characters: `\d`, `\pL`, `[a-z]`, `[:alpha:]`.

use super::Translation;

const DIGITS: &str = "0-9";
const BLANKS: &str = r"\t\n\f\r ";
const WORD: &str = "0-9A-Za-z_";

const CATEGORIES: &[&str] = &[
    "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl",
    "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl",
    "Zp", "Zs",
];

/// The scripts of Unicode 13, by the names that Go 1.19 has for them: the full ones only.
const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Anatolian_Hieroglyphs",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Bassa_Vah",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Canadian_Aboriginal",
    "Carian",
    "Caucasian_Albanian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dives_Akuru",
    "Dogra",
    "Duployan",
    "Egyptian_Hieroglyphs",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gunjala_Gondi",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanifi_Rohingya",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Imperial_Aramaic",
    "Inherited",
    "Inscriptional_Pahlavi",
    "Inscriptional_Parthian",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kayah_Li",
    "Kharoshthi",
    "Khitan_Small_Script",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Linear_A",
    "Linear_B",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Masaram_Gondi",
    "Medefaidrin",
    "Meetei_Mayek",
    "Mende_Kikakui",
    "Meroitic_Cursive",
    "Meroitic_Hieroglyphs",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nandinagari",
    "New_Tai_Lue",
    "Newa",
    "Nko",
    "Nushu",
    "Nyiakeng_Puachue_Hmong",
    "Ogham",
    "Ol_Chiki",
    "Old_Hungarian",
    "Old_Italic",
    "Old_North_Arabian",
    "Old_Permic",
    "Old_Persian",
    "Old_Sogdian",
    "Old_South_Arabian",
    "Old_Turkic",
    "Oriya",
    "Osage",
    "Osmanya",
    "Pahawh_Hmong",
    "Palmyrene",
    "Pau_Cin_Hau",
    "Phags_Pa",
    "Phoenician",
    "Psalter_Pahlavi",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "SignWriting",
    "Sinhala",
    "Sogdian",
    "Sora_Sompeng",
    "Soyombo",
    "Sundanese",
    "Syloti_Nagri",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Tai_Le",
    "Tai_Tham",
    "Tai_Viet",
    "Takri",
    "Tamil",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Ugaritic",
    "Vai",
    "Wancho",
    "Warang_Citi",
    "Yezidi",
    "Yi",
    "Zanabazar_Square",
];

const NAMED: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

impl Translation<'_> {
    /// Writes the set that `\d`, `\pL` and their like name, if that is what follows the backslash.
    pub(super) fn set_escape(&mut self) -> Result<bool, &'static str> {
        let (members, negative) = match self.rest.chars().next() {
            Some('d') => (DIGITS, false),
            Some('D') => (DIGITS, true),
            Some('s') => (BLANKS, false),
            Some('S') => (BLANKS, true),
            Some('w') => (WORD, false),
            Some('W') => (WORD, true),
            Some('p') => return self.property(false).map(|()| true),
            Some('P') => return self.property(true).map(|()| true),
            _ => return Ok(false),
        };
        self.take();
        self.set(members, negative);
        Ok(true)
    }

    fn set(&mut self, members: &str, negative: bool) {
        self.out.push_str(if negative { "[^" } else { "[" });
        self.out.push_str(members);
        self.out.push(']');
    }

    fn property(&mut self, mut negative: bool) -> Result<(), &'static str> {
        self.take();
        let name = if self.take_if("{") {
            negative ^= self.take_if("^");
            let (name, rest) = self
                .rest
                .split_once('}')
                .ok_or("a property's name is not closed")?;
            self.rest = rest;
            name
        } else {
            let written = self.rest;
            let letter = self.take().ok_or("a property has no name")?;
            &written[..letter.len_utf8()]
        };
        let property = match name {
            "Any" => r"\p{Any}".to_owned(),
            // To RE2 these are the assigned ones.
            "C" => r"\p{Cc}\p{Cf}\p{Co}".to_owned(),
            // No text has surrogates.
            "Cs" => r"\P{Any}".to_owned(),
            category if CATEGORIES.contains(&category) => format!(r"\p{{gc={category}}}"),
            script if SCRIPTS.binary_search(&script).is_ok() => format!(r"\p{{sc={script}}}"),
            _ => return Err("a property is a general category or a script"),
        };
        self.set(&property, negative);
        Ok(())
    }

    /// A bracketed class, after its opening bracket. In it a bracket, `&` and `~` are only themselves.
    pub(super) fn class(&mut self) -> Result<(), &'static str> {
        let negative = self.take_if("^");
        self.out.push_str(if negative { "[^" } else { "[" });
        let mut first = true;
        while first || !self.take_if("]") {
            first = false;
            if self.rest.is_empty() {
                return Err("a class is not closed");
            }
            if !self.named_set()? {
                self.range()?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// Writes `[:alpha:]` or an escaped set, if one is next inside a class.
    fn named_set(&mut self) -> Result<bool, &'static str> {
        let opened = self.rest.strip_prefix("[:").filter(|_| !self.unclosed);
        let named = opened.and_then(|rest| rest.split_once(":]"));
        self.unclosed |= opened.is_some() && named.is_none();
        if let Some((name, rest)) = named {
            let (negative, name) = name
                .strip_prefix('^')
                .map_or(("", name), |name| ("^", name));
            if !NAMED.contains(&name) {
                return Err("unknown name between [: and :]");
            }
            self.out.push_str(&format!("[:{negative}{name}:]"));
            self.rest = rest;
            return Ok(true);
        }
        let Some(after) = self.rest.strip_prefix('\\') else {
            return Ok(false);
        };
        let before = std::mem::replace(&mut self.rest, after);
        let written = self.set_escape()?;
        if !written {
            self.rest = before;
        }
        Ok(written)
    }

    fn range(&mut self) -> Result<(), &'static str> {
        let low = self.class_character()?;
        self.literal(low);
        if !self.rest.starts_with('-') || self.rest.starts_with("-]") || self.rest == "-" {
            return Ok(());
        }
        self.take();
        let high = self.class_character()?;
        if high < low {
            return Err("a range runs backwards");
        }
        self.out.push('-');
        self.literal(high);
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, &'static str> {
        if self.take_if("\\") {
            return self.character_escape();
        }
        self.take().ok_or("a class is not closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_in_order() {
        assert!(SCRIPTS.is_sorted());
    }

    #[test]
    fn our_engine_knows_every_property() {
        for name in ["Any", "C", "Cs"].iter().chain(CATEGORIES).chain(SCRIPTS) {
            for pattern in [format!(r"\p{{{name}}}"), format!(r"[^\P{{^{name}}}a]")] {
                let translated = super::super::translate(&pattern).unwrap();
                assert!(regex_syntax::parse(&translated).is_ok(), "{translated}");
            }
        }
    }
}
