use super::*;

fn convert(message: &str, split: usize, eight_bit: bool) -> Result<String, &'static str> {
    convert_octets(message.as_bytes(), split, eight_bit).map(|octets| String::from_utf8(octets).unwrap())
}

fn convert_octets(message: &[u8], split: usize, eight_bit: bool) -> Result<Vec<u8>, &'static str> {
    let mut encoder = if eight_bit { SevenBit::eight_bit() } else { SevenBit::new() };
    let mut output = Vec::new();
    for piece in message.chunks(split.max(1)) {
        encoder.push(piece, &mut output)?;
    }
    encoder.finish(&mut output)?;
    Ok(output)
}

fn check(message: &str, expected: Result<&str, &str>) {
    for split in 1..=message.len() {
        assert_eq!(convert(message, split, false).as_deref().map_err(|error| *error), expected, "{split}");
    }
}

#[test]
fn ascii_stays_as_it_is() {
    for message in [
        "",
        "\r\n",
        "Subject: x",
        "Subject: x\r\n",
        "Subject: x\r\n\r\n",
        "Subject: x\r\n\r\nbody",
        "Subject: x\r\n\r\nbody\r\n\r\n",
        "A: b\n\nbody\nmore\r",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n\r\n--b--\r\nend\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nA: b\r\n--b--\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n-\r\n--\r\n--bb\r\n--b",
    ] {
        check(message, Ok(message));
    }
}

#[test]
fn parts_are_encoded_by_their_kind() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b b\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        --b b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding:\r\n 8bit\r\nX: y\r\n\r\ncafé = 1\r\n \r\n\r\n\
        --b b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: 8BIT (x)\r\n\r\né\r\né\r\n\
        --b b\r\nContent-Type: text/plain\r\n\r\nplain\r\n\
        --b b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n\
        --b b--\r\nepilogue\r\n";
    let expected = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b b\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
        --b b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nX: y\r\n\r\ncaf=C3=A9 =3D 1\r\n=20\r\n\r\n\
        --b b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nw6kNCsOp\r\n\
        --b b\r\nContent-Type: text/plain\r\n\r\nplain\r\n\
        --b b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n\
        --b b--\r\nepilogue\r\n";
    check(message, Ok(expected));
}

/// RFC 2046 §5.1.1: what stands behind a boundary does not hide it.
#[test]
fn a_boundary_with_anything_behind_it_starts_a_part() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\nsee\r\n";
    for length in [1, 150, 193, 194, 195, 196, 197, 198, 500] {
        let behind = "x".repeat(length);
        let message = format!(
            "{head}--b{behind}\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n--b--{behind}\r\nend\r\n"
        );
        let expected = message
            .replacen("8bit", "7bit", 1)
            .replacen("8bit", "quoted-printable", 1)
            .replacen('é', "=C3=A9", 1);
        check(&message, Ok(&expected));
    }
    check(&format!("{head}--bé\r\n\r\nx\r\n"), Err("a boundary with octets beyond ASCII cannot be encoded"));
    // The longest that starts the line is meant, and one that is the line before that.
    let nested = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=bc\r\n\r\n\
        --bcd\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n--bc--\r\n--b--\r\n";
    check(nested, Ok(&nested.replace("8bit", "quoted-printable").replace('é', "=C3=A9")));
}

#[test]
fn binary_becomes_lines() {
    let message =
        b"Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\na\nb\rc\0\xff\r\n";
    for split in 1..=message.len() {
        for eight_bit in [false, true] {
            let converted = convert_octets(message, split, eight_bit).unwrap();
            let body = converted
                .strip_prefix(b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n");
            assert_eq!(body, Some(&b"YQpiDWMA/w0K\r\n"[..]), "{split}");
        }
    }
    let text = b"Content-Transfer-Encoding: binary\r\n\r\na\nb\r\n";
    assert!(convert_octets(text, 3, false).unwrap().ends_with(b"quoted-printable\r\n\r\na=0Ab\r\n"));
    // 8-bit content that is in lines stays where it is taken.
    let text = "Content-Transfer-Encoding: 8bit\r\n\r\né\r\n";
    assert_eq!(convert(text, 1, true).as_deref(), Ok(text));
}

#[test]
fn lines_that_end_with_lf_are_lines() {
    check(
        "Content-Type: image/png\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n\n\r",
        Ok("Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nw6kNCg0KDQ==\r\n"),
    );
    check(
        "Content-Transfer-Encoding: 8bit\n\né\nb\n",
        Ok("Content-Transfer-Encoding: quoted-printable\r\n\n=C3=A9\r\nb\r\n"),
    );
}

#[test]
fn what_would_be_mangled_is_refused() {
    for message in [
        "Subject: é\r\n\r\nx",
        "Subject: x\r\n\r\né",
        "Content-Transfer-Encoding: x-own\r\n\r\né",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\né\r\n--b--\r\n",
        "Content-Type: multipart/signed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n--b--\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: é\r\n\r\n--b--\r\n",
    ] {
        for split in 1..=message.len() {
            assert!(convert(message, split, false).is_err(), "{message:?}/{split}");
        }
    }
    let header = format!("A: {}\r\n\r\n", "x".repeat(HEADER));
    assert!(convert(&header, 1000, false).is_err());
}

#[test]
fn parts_may_lie_so_deep() {
    for (depth, fits) in [(99, true), (100, true), (101, false)] {
        let mut message = String::new();
        for level in 0..depth {
            message
                .push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
        }
        message.push_str("\r\nx\r\n");
        assert_eq!(convert(&message, 7, false).is_ok(), fits, "{depth}");
    }
}
