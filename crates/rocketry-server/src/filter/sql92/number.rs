//! Numbers as Java reads them from text, so that a property value means the same number here and there.

/// Zero of each script's decimal digits other than ASCII; nine more digits follow each. Java: `Character.digit` of one `char`.
const ZEROS: [char; 36] = [
    '\u{0660}', '\u{06F0}', '\u{07C0}', '\u{0966}', '\u{09E6}', '\u{0A66}', '\u{0AE6}', '\u{0B66}',
    '\u{0BE6}', '\u{0C66}', '\u{0CE6}', '\u{0D66}', '\u{0DE6}', '\u{0E50}', '\u{0ED0}', '\u{0F20}',
    '\u{1040}', '\u{1090}', '\u{17E0}', '\u{1810}', '\u{1946}', '\u{19D0}', '\u{1A80}', '\u{1A90}',
    '\u{1B50}', '\u{1BB0}', '\u{1C40}', '\u{1C50}', '\u{A620}', '\u{A8D0}', '\u{A900}', '\u{A9D0}',
    '\u{A9F0}', '\u{AA50}', '\u{ABF0}', '\u{FF10}',
];

/// Java: `Integer.valueOf`.
pub(super) fn int(text: &str) -> Option<i32> {
    i32::try_from(long(text)?).ok()
}

/// Java: `Long.valueOf`.
pub(super) fn long(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    if digits.is_empty() {
        return None;
    }
    // Summed up below zero, where there is room for the smallest number.
    let below = digits
        .chars()
        .try_fold(0_i64, |sum, c| sum.checked_mul(10)?.checked_sub(digit(c)?))?;
    if negative {
        Some(below)
    } else {
        below.checked_neg()
    }
}

/// Java: `Double.valueOf`, which takes blanks around the number, a suffix, `NaN`, `Infinity` and hexadecimal.
pub(super) fn double(text: &str) -> Option<f64> {
    let (negative, magnitude) = sign(text.trim_matches(|c| c <= ' '));
    let value = match magnitude {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        _ => {
            let suffix = ['f', 'F', 'd', 'D'];
            let number = magnitude.strip_suffix(suffix).unwrap_or(magnitude);
            if let Some(hex) = number
                .strip_prefix("0x")
                .or_else(|| number.strip_prefix("0X"))
            {
                hexadecimal(hex)?
            } else if number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                // Decimals are alike in Rust; its words for infinity are not.
                number.parse().ok()?
            } else {
                return None;
            }
        }
    };
    Some(if negative { -value } else { value })
}

/// What follows `0x`: hexadecimal digits with or without a point, `p`, and a power of two. Rounds half to even.
fn hexadecimal(text: &str) -> Option<f64> {
    const FAR: i64 = 1 << 40;
    let (significand, power) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = significand.split_once('.').unwrap_or((significand, ""));
    let (negative, power) = sign(power);
    if power.is_empty() || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let power = power.chars().try_fold(0, |sum: i64, c| {
        Some((sum * 10 + i64::from(c.to_digit(10)?)).min(FAR))
    })?;
    let mut power = if negative { -power } else { power };

    // The leading digits, as many as fit, and whether anything but zeros follows them.
    let (mut leading, mut more) = (0_u64, false);
    let digits = whole
        .chars()
        .map(|c| (c, 0))
        .chain(fraction.chars().map(|c| (c, 4)));
    for (c, behind_point) in digits {
        let digit = c.to_digit(16)?;
        power -= behind_point;
        if leading >> 60 == 0 {
            leading = leading << 4 | u64::from(digit);
        } else {
            more |= digit != 0;
            power += 4;
        }
    }
    if leading == 0 {
        return Some(0.0);
    }
    let shift = leading.leading_zeros();
    let top = power - i64::from(shift) + 63;
    if top > 1023 {
        return Some(f64::INFINITY);
    }
    // 53 bits are kept, fewer below the smallest normal number.
    let dropped = 11 + (-1022 - top).max(0);
    if dropped > 64 {
        return Some(0.0);
    }
    let bits = u128::from(leading << shift);
    let kept = u64::try_from(bits >> dropped).ok()?;
    let (rest, half) = (bits & ((1 << dropped) - 1), 1 << (dropped - 1));
    let up = rest > half || (rest == half && (more || kept & 1 == 1));
    // The leading bit of a normal number adds the last one to its exponent, and so does a carry.
    let exponent = u64::try_from((top + 1022).max(0)).ok()?;
    Some(f64::from_bits((exponent << 52) + kept + u64::from(up)))
}

/// Whether a minus stands in front, and what follows the sign.
fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn digit(c: char) -> Option<i64> {
    let zero = if c.is_ascii() {
        '0'
    } else {
        let after = ZEROS.partition_point(|zero| *zero <= c);
        *ZEROS.get(after.checked_sub(1)?)?
    };
    let value = u32::from(c).checked_sub(u32::from(zero))?;
    (value < 10).then(|| i64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", Some(0)),
            ("+7", Some(7)),
            ("-007", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("\u{ff11}\u{0662}", Some(12)),
            ("\u{ff0f}", None),
            ("\u{ff1a}", None),
            ("", None),
            ("-", None),
            ("+-1", None),
            (" 1", None),
            ("1.0", None),
            ("5L", None),
        ] {
            assert_eq!(long(text), value, "{text:?}");
        }
        assert_eq!(int("2147483647"), Some(i32::MAX));
        assert_eq!(int("2147483648"), None);
    }

    #[test]
    fn the_digits_of_a_script_are_consecutive() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            for value in 0..10_u32 {
                let c = char::from_u32(u32::from(zero) + value).unwrap();
                assert_eq!(digit(c), Some(i64::from(value)), "{c:?}");
            }
        }
    }

    #[test]
    fn doubles() {
        let subnormal = f64::from_bits(1);
        for (text, value) in [
            ("1", Some(1.0)),
            ("\t-1.5e2 ", Some(-150.0)),
            ("5.", Some(5.0)),
            (".5f", Some(0.5)),
            ("1e999", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0x1.8p1", Some(3.0)),
            ("0X.8P+1d", Some(1.0)),
            ("0x1.p0", Some(1.0)),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1.00000000000008p0", Some(1.0)),
            (
                "0x1.000000000000080000000000001p0",
                Some(1.0 + f64::EPSILON),
            ),
            ("0x1p1023", Some(2_f64.powi(1023))),
            ("0x1p1024", Some(f64::INFINITY)),
            ("0x1p-1074", Some(subnormal)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.8p-1075", Some(subnormal)),
            ("0x0.fffffffffffffcp-1022", Some(f64::MIN_POSITIVE)),
            ("0x0p99999999999999999999", Some(0.0)),
            ("0x1p99999999999999999999", Some(f64::INFINITY)),
            ("0x1p-99999999999999999999", Some(0.0)),
            ("0x1", None),
            ("0x.p1", None),
            ("0x1p", None),
            ("", None),
            (".", None),
            ("1e", None),
            ("1ff", None),
            ("inf", None),
            ("nan", None),
            ("infinity", None),
            ("+ 1", None),
            ("1_0", None),
            ("\u{ff11}", None),
            ("\u{a0}1", None),
        ] {
            assert_eq!(double(text), value, "{text:?}");
        }
        assert!(double("NaN").is_some_and(f64::is_nan));
    }
}
