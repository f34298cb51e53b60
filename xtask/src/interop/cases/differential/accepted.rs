//! Differences that are known, each with its reason. `cargo xtask compat` shows them in docs/compatibility.md; a difference that is not
//! listed fails the case, and so does a line that nothing needs any more.

mod rows;

pub(crate) use rows::ACCEPTED;

use super::reply::Difference;

/// One kind of difference. In all patterns `*` stands for any text.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Steps by name.
    pub(crate) step: &'static str,
    /// `code`, `remark`, `field NAME`, `body PATH`, `message N NAME`.
    pub(crate) aspect: &'static str,
    /// What ours says; `-` = nothing.
    pub(crate) ours: &'static str,
    /// What Apache's says; `-` = nothing.
    pub(crate) theirs: &'static str,
    pub(crate) reason: &'static str,
    /// Chance decides whether it is there.
    pub(crate) at_times: bool,
}

const fn known(
    step: &'static str,
    aspect: &'static str,
    ours: &'static str,
    theirs: &'static str,
    reason: &'static str,
) -> Accepted {
    Accepted {
        step,
        aspect,
        ours,
        theirs,
        reason,
        at_times: false,
    }
}

/// As `known`, where chance decides.
const fn at_times(
    step: &'static str,
    aspect: &'static str,
    ours: &'static str,
    theirs: &'static str,
    reason: &'static str,
) -> Accepted {
    Accepted {
        at_times: true,
        ..known(step, aspect, ours, theirs, reason)
    }
}

impl Accepted {
    pub(super) fn covers(&self, difference: &Difference) -> bool {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        matches(self.step, &difference.step)
            && matches(self.aspect, &difference.aspect)
            && matches(self.ours, &side(&difference.ours))
            && matches(self.theirs, &side(&difference.theirs))
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text and `|` separates alternatives.
fn matches(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|pattern| one_matches(pattern, text))
}

fn one_matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, is) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("*b*", "abc", true),
            ("*x*", "abc", false),
            ("abc", "abc", true),
            ("ab", "abc", false),
            ("x|a*|y", "abc", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn every_known_difference_has_a_reason_for_a_table() {
        for known in &ACCEPTED {
            assert!(!known.reason.is_empty(), "{known:?}");
        }
    }
}
