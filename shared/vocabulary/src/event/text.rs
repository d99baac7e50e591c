//! The text of a document as people's programs write it.

/// The text of a document in UTF-8, without a byte order mark before it.
///
/// # Errors
/// What it is instead, as far as its first bytes tell.
pub fn of(bytes: &[u8]) -> Result<&str, &'static str> {
    match bytes {
        [0x1f, 0x8b, ..] => return Err("gzip and not JSON: unpack it first (gunzip)"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => {
            return Err("UTF-16 and not UTF-8: convert it first (iconv -f UTF-16 -t UTF-8)");
        }
        [b'P', b'K', 3, 4, ..] => return Err("a zip archive and not JSON: unpack it first"),
        _ => {}
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_byte_order_mark_is_taken_and_other_containers_are_named() {
        assert_eq!(of("\u{feff}{}".as_bytes()), Ok("{}"));
        assert_eq!(of(b"{}"), Ok("{}"));
        assert!(of(&[0x1f, 0x8b, 8, 0]).unwrap_err().contains("gunzip"));
        for utf16 in [&[0xff, 0xfe, b'{', 0][..], &[0xfe, 0xff, 0, b'{'], &[b'{', 0, b'"', 0]] {
            assert!(of(utf16).unwrap_err().contains("UTF-16"));
        }
        assert_eq!(of(&[b'{', 0xe4, b'}']), Err("not UTF-8"));
    }
}
