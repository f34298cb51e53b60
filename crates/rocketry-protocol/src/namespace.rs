//! Namespaces of the older kind, which become part of names: `<namespace>%<name>`. Java: `NamespaceUtil`.

use std::borrow::Cow;

use crate::topic::{DEAD_LETTER_PREFIX, RETRY_PREFIX, SYSTEM_GROUP_PREFIX, is_system};

/// The name within the namespace. Names of the system stay as they are, as do names that are in the namespace already; the
/// prefixes of retry and dead-letter topics stay in front.
pub fn wrap<'a>(namespace: &str, resource: &'a str) -> Cow<'a, str> {
    let (prefix, name) = split_prefix(resource);
    let within = name
        .strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with(SEPARATOR));
    if namespace.is_empty() || resource.is_empty() || is_system_resource(resource) || within {
        return Cow::Borrowed(resource);
    }
    Cow::Owned(format!("{prefix}{namespace}{SEPARATOR}{name}"))
}

/// The name without its namespace, whichever that is.
pub fn unwrap(resource: &str) -> Cow<'_, str> {
    let (prefix, name) = split_prefix(resource);
    match name.split_once(SEPARATOR) {
        Some((namespace, name)) if !namespace.is_empty() && !is_system_resource(resource) => {
            if prefix.is_empty() {
                Cow::Borrowed(name)
            } else {
                Cow::Owned(format!("{prefix}{name}"))
            }
        }
        _ => Cow::Borrowed(resource),
    }
}

/// The name without this namespace; a name in another one stays as it is.
pub fn unwrap_from<'a>(resource: &'a str, namespace: &str) -> Cow<'a, str> {
    let within = split_prefix(resource)
        .1
        .strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with(SEPARATOR));
    if within && !namespace.is_empty() {
        unwrap(resource)
    } else {
        Cow::Borrowed(resource)
    }
}

/// The namespace of a name; empty when it has none.
pub fn namespace_of(resource: &str) -> &str {
    if is_system_resource(resource) {
        return "";
    }
    split_prefix(resource)
        .1
        .split_once(SEPARATOR)
        .map_or("", |(namespace, _)| namespace)
}

const SEPARATOR: char = '%';

fn is_system_resource(resource: &str) -> bool {
    is_system(resource) || resource.starts_with(SYSTEM_GROUP_PREFIX)
}

/// Prefix of a retry or dead-letter topic, and the rest.
fn split_prefix(resource: &str) -> (&str, &str) {
    [RETRY_PREFIX, DEAD_LETTER_PREFIX]
        .iter()
        .find_map(|prefix| resource.strip_prefix(prefix).map(|name| (*prefix, name)))
        .unwrap_or(("", resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_namespace_is_taken_off() {
        assert_eq!(unwrap("a%b%c"), "b%c");
        assert_eq!(unwrap_from("a%b", "x"), "a%b");
        assert_eq!(unwrap_from("%DLQ%a%b", "a"), "%DLQ%b");
        assert_eq!(namespace_of("%RETRY%G"), "");
    }
}
