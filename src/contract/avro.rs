//! Avro's binary primitives, read without allocation and written into a buffer (Avro 1.12, "Binary Encoding").

use crate::domain::reason::Reason;

/// Reads primitives from the front of a slice. Total: every input gives a value or a [`Reason`].
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A whole number: zigzag, seven bits per byte.
    #[inline]
    pub fn long(&mut self) -> Result<i64, Reason> {
        match self.rest {
            // Most are lengths and branches.
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(of_zigzag(u64::from(*byte)))
            }
            _ => self.long_of_many_bytes(),
        }
    }

    fn long_of_many_bytes(&mut self) -> Result<i64, Reason> {
        let mut value = 0_u64;
        for (position, byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if position == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * position);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[position + 1..];
                return Ok(of_zigzag(value));
            }
        }
        Err(malformed("a number ends early or is too long"))
    }

    /// A text, borrowed.
    pub fn string(&mut self, field: &'static str) -> Result<&'a str, Reason> {
        let length = self.long()?;
        let Some((text, rest)) = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length))
        else {
            return Err(malformed(&format!(
                "field {field} says it has {length} bytes, and {} are left",
                self.rest.len()
            )));
        };
        self.rest = rest;
        if text.is_ascii() {
            // SAFETY: ASCII is UTF-8.
            #[allow(unsafe_code, reason = "names are short and nearly always ASCII; std takes them byte by byte")]
            return Ok(unsafe { std::str::from_utf8_unchecked(text) });
        }
        std::str::from_utf8(text).map_err(|_| Reason::InvalidUtf8(field))
    }

    /// A text or nothing: the union of null and string.
    pub fn optional_string(&mut self, field: &'static str) -> Result<Option<&'a str>, Reason> {
        match self.long()? {
            0 => Ok(None),
            1 => self.string(field).map(Some),
            branch => Err(malformed(&format!("field {field} has branch {branch} of a union of two"))),
        }
    }

    /// Refuses what is left over after a whole record.
    pub fn end(&self) -> Result<(), Reason> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(malformed(&format!("{} bytes follow the record", self.rest.len())))
        }
    }
}

const fn of_zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends a whole number.
pub fn write_long(value: i64, to: &mut Vec<u8>) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        to.push((bits as u8) | 0x80);
        bits >>= 7;
    }
    to.push(bits as u8);
}

/// Appends a text.
pub fn write_string(text: &str, to: &mut Vec<u8>) {
    write_long(text.len() as i64, to);
    to.extend_from_slice(text.as_bytes());
}

/// Appends a text or nothing.
pub fn write_optional_string(text: Option<&str>, to: &mut Vec<u8>) {
    match text {
        None => write_long(0, to),
        Some(text) => {
            write_long(1, to);
            write_string(text, to);
        }
    }
}

/// The reason for bytes that do not follow their schema.
pub fn malformed(why: &str) -> Reason {
    Reason::MalformedAvro(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read_back() {
        for value in [0, -1, 1, 63, 64, -64, -65, 1 << 40, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write_long(value, &mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.long(), reader.end()), (Ok(value), Ok(())));
        }
    }

    #[test]
    fn bytes_that_are_no_number_or_text_are_refused() {
        assert!(Reader::new(&[]).long().is_err());
        assert!(Reader::new(&[0xff; 11]).long().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).long().is_err());
        assert!(Reader::new(&[8, b'a']).string("id").is_err());
        assert!(Reader::new(&[1]).string("id").is_err());
        assert_eq!(Reader::new(&[2, 0xff]).string("id"), Err(Reason::InvalidUtf8("id")));
        assert!(Reader::new(&[4]).optional_string("id").is_err());
    }
}
