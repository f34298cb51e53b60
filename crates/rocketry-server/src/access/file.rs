//! The file of users and rules, for its owner's eyes only: secrets are in it as they are, because signatures are checked with them.
//!
//! Java keeps them in RocksDB, `config/users` and `config/acls`.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rocketry_protocol::{
    body,
    body::access::{AclInfo, PolicyInfo, UserInfo},
};
use serde::{Deserialize, Serialize};

/// Users by name, and the policies of those that have some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) users: BTreeMap<String, UserInfo>,
    pub(super) policies: BTreeMap<String, Vec<PolicyInfo>>,
}

/// As it is written: with the types that go over the wire.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    users: Vec<UserInfo>,
    acls: Vec<AclInfo>,
}

/// The file in a data directory. Java leaves it alone.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("config").join("rocketry-access.json")
}

/// Reads the file; a missing one is an empty table. A damaged one is an error: nobody must get in because of it.
pub(super) fn read(file: &Path) -> io::Result<Kept> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error),
    };
    hide(file)?;
    let content: Content = body::decode(&text).map_err(io::Error::other)?;
    let mut kept = Kept::default();
    for user in content.users {
        kept.users.insert(user.username.clone(), user);
    }
    for acl in content.acls {
        if let Some(name) = subject_user(&acl.subject)
            && kept.users.contains_key(name)
        {
            kept.policies.insert(name.to_owned(), acl.policies);
        }
    }
    Ok(kept)
}

/// Replaces the file, and returns when that is on disk.
pub(super) fn write(file: &Path, kept: &Kept) -> io::Result<()> {
    let content = Content {
        users: kept.users.values().cloned().collect(),
        acls: kept
            .policies
            .iter()
            .map(|(name, policies)| AclInfo {
                policies: policies.clone(),
                subject: subject_of(name),
            })
            .collect(),
    };
    let text = body::encode_pretty(&content).map_err(io::Error::other)?;
    write_secret(file, &text)
}

/// Writes a file that only its owner can read, beside and then in place of what is there.
pub(super) fn write_secret(file: &Path, text: &[u8]) -> io::Result<()> {
    let Some(dir) = file.parent() else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    fs::create_dir_all(dir)?;
    // Its permissions are those of its owner from the first byte on.
    let mut beside = tempfile::Builder::new()
        .prefix(".rocketry-")
        .tempfile_in(dir)?;
    beside.write_all(text)?;
    beside.as_file().sync_all()?;
    beside.persist(file).map_err(|error| error.error)?;
    match fs::File::open(dir).and_then(|dir| dir.sync_all()) {
        // Some file systems cannot do it.
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
        _ => Ok(()),
    }
}

/// Takes the file away from others, should somebody have copied it without care.
#[cfg(unix)]
fn hide(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    const OF_OTHERS: u32 = 0o077;
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & OF_OTHERS == 0 {
        return Ok(());
    }
    tracing::warn!(file = %file.display(), "others could read the users' secrets: now they cannot");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn hide(_: &Path) -> io::Result<()> {
    Ok(())
}

/// `User:name`. Java: `User.getSubjectKey`.
pub(super) fn subject_of(name: &str) -> String {
    format!("User:{name}")
}

/// The name in `User:name`. Java: `Subject.of`.
pub(super) fn subject_user(subject: &str) -> Option<&str> {
    let (kind, name) = subject.split_once(':').unwrap_or((subject, ""));
    kind.eq_ignore_ascii_case("User").then_some(name)
}
