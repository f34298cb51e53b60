//! Filters by tag. Java: `FilterAPI`, `ExpressionMessageFilter`.

use rocketry_protocol::hash::java_string_hash;

/// A tag expression, compared by hash: messages whose tag merely has the same hash pass, and the client drops them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagFilter {
    /// `*` or no expression.
    All,
    /// Hashes of the tags.
    Codes(Vec<i32>),
}

/// The expression names no tag (code 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoTags;

impl TagFilter {
    /// Parses `A || B`. Java: `FilterAPI.buildSubscriptionData`.
    pub(crate) fn parse(expression: Option<&str>) -> Result<Self, NoTags> {
        let expression = match expression {
            None | Some("" | "*") => return Ok(Self::All),
            Some(expression) => expression,
        };
        let codes: Vec<i32> = expression
            .split("||")
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(java_string_hash)
            .collect();
        if codes.is_empty() {
            return Err(NoTags);
        }
        Ok(Self::Codes(codes))
    }

    /// The filter of a subscription that came with its hashes.
    pub(crate) fn of_codes(expression: &str, codes: &[i32]) -> Result<Self, NoTags> {
        if codes.is_empty() {
            Self::parse(Some(expression))
        } else {
            Ok(Self::Codes(codes.to_vec()))
        }
    }

    /// Whether a message with this code in the consume queue is wanted. The code's low 32 bits are the tag's hash.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the hash is in the low 32 bits"
    )]
    pub(crate) fn matches(&self, tags_code: i64) -> bool {
        match self {
            Self::All => true,
            Self::Codes(codes) => codes.contains(&(tags_code as i32)),
        }
    }
}

/// Whether the type of an expression is `TAG`, which is also what no type means.
pub(crate) fn is_tag_type(expression_type: Option<&str>) -> bool {
    matches!(expression_type, None | Some("" | "TAG"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags_code(tag: Option<&str>) -> i64 {
        tag.map_or(0, |tag| i64::from(java_string_hash(tag)))
    }

    /// S-054 for the filter: both tags pass, and so does a tag with the same hash.
    #[test]
    fn s054_tags_match_by_hash() {
        let filter = TagFilter::parse(Some(" TagA || || Aa ")).unwrap();
        assert!(filter.matches(tags_code(Some("TagA"))));
        assert!(
            filter.matches(tags_code(Some("BB"))),
            "Aa and BB have one hash"
        );
        assert!(!filter.matches(tags_code(Some("TagB"))));
        assert!(!filter.matches(tags_code(None)));
    }

    #[test]
    fn all_and_nothing() {
        for all in [None, Some(""), Some("*")] {
            assert_eq!(TagFilter::parse(all), Ok(TagFilter::All));
        }
        assert_eq!(TagFilter::parse(Some("||")), Err(NoTags));
        assert_eq!(TagFilter::parse(Some(" || ")), Err(NoTags));
    }

    #[test]
    fn negative_hashes_survive_the_widening() {
        let tag = "polygenelubricants";
        assert_eq!(tags_code(Some(tag)), i64::from(i32::MIN));
        assert!(
            TagFilter::parse(Some(tag))
                .unwrap()
                .matches(tags_code(Some(tag)))
        );
    }
}
