//! Unpacks GNU tar archives with sparse entries, as far as the golden stores need it: files, directories, sparse files, long names.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
};

const BLOCK: usize = 512;

/// Unpacks a `.tar.zst` below `target`.
pub(crate) fn unpack(archive: &Path, target: &Path) -> io::Result<()> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(fs::File::open(archive)?)?.read_to_end(&mut bytes)?;
    let mut at = 0;
    let mut long_name = None;
    while let Some(header) = bytes.get(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        at += BLOCK;
        let kind = header[156];
        let stored = number(&header[124..136]);
        let mut map = Vec::new();
        let mut real = stored;
        if kind == b'S' {
            real = number(&header[483..495]);
            pieces(&header[386..482], &mut map);
            let mut more = header[482] != 0;
            while more {
                let extension = &bytes[at..at + BLOCK];
                at += BLOCK;
                pieces(&extension[..504], &mut map);
                more = extension[504] != 0;
            }
        } else {
            map.push((0, stored));
        }
        let data = &bytes[at..at + usize::try_from(stored).unwrap()];
        at += data.len().next_multiple_of(BLOCK);
        let name = long_name.take().unwrap_or_else(|| text(&header[..100]));
        match kind {
            b'L' => long_name = Some(text(data)),
            b'5' => fs::create_dir_all(inside(target, &name)?)?,
            b'0' | b'\0' | b'S' => {
                let path = inside(target, &name)?;
                fs::create_dir_all(path.parent().expect("a file has a parent"))?;
                let file = fs::File::create(path)?;
                file.set_len(real)?;
                let mut data = data;
                for (offset, len) in map {
                    let (piece, rest) = data.split_at(usize::try_from(len).unwrap());
                    file.write_all_at(piece, offset)?;
                    data = rest;
                }
            }
            other => {
                return Err(io::Error::other(format!(
                    "{name}: unexpected entry type {:?}",
                    char::from(other)
                )));
            }
        }
    }
    Ok(())
}

/// Writes a file without its zero pages.
pub(crate) fn write_sparse(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs::File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (n, page) in bytes.chunks(4096).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, n as u64 * 4096)?;
        }
    }
    Ok(())
}

fn pieces(bytes: &[u8], map: &mut Vec<(u64, u64)>) {
    for piece in bytes.chunks_exact(24) {
        if piece[0] != 0 {
            map.push((number(&piece[..12]), number(&piece[12..])));
        }
    }
}

/// Octal text, or a big-endian number with the top bit set.
fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field[field.len() - 8..]
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() {
        0
    } else {
        u64::from_str_radix(digits, 8).expect("octal digits")
    }
}

fn text(field: &[u8]) -> String {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn inside(target: &Path, name: &str) -> io::Result<PathBuf> {
    let path = Path::new(name);
    if path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        Ok(target.join(path))
    } else {
        Err(io::Error::other(format!("{name} leaves the directory")))
    }
}
