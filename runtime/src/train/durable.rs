//! Writing a file so that, whatever happens, either the old content or the new one is there.
//!
//! Write a temporary file in the same folder, sync it, rename it over the target, sync the folder.
//! A crash leaves at most a temporary file, which [`sweep`] removes; a full disk leaves the old
//! file and no temporary one.

use super::fault;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What fills a file.
pub type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// Replaces the file at `path` by what `fill` writes, all or nothing.
pub fn replace(path: &Path, fill: &mut Fill<'_>) -> io::Result<()> {
    let temporary = temporary_of(path);
    let written = write_and_sync(&temporary, fill)
        .and_then(|()| fault::at())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The target is untouched; a temporary file that cannot be removed is swept later.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(path)
}

/// Removes the temporary files that a crash has left in a folder.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == TEMPORARY) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes creations, renames and removals in the folder of `path` durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    fault::at()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

const TEMPORARY: &str = "partial";

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    path.with_file_name(name)
}

fn write_and_sync(path: &Path, fill: &mut Fill<'_>) -> io::Result<()> {
    fault::at()?;
    let file = fault::writer(File::create(path)?);
    let mut out = BufWriter::with_capacity(1 << 18, file);
    fill(&mut out)?;
    out.flush()?;
    fault::at()?;
    fault::file(out.get_ref()).sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A writer with room for so many bytes, as a disk has.
    pub(crate) struct Limited<'a> {
        pub(crate) out: &'a mut dyn Write,
        pub(crate) room: usize,
    }

    impl Write for Limited<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = self.out.write(&bytes[..bytes.len().min(self.room)])?;
            self.room -= written;
            Ok(written)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.out.flush()
        }
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace(&path, &mut |out| out.write_all(b"old")).unwrap();
        for room in 0..8 {
            let error = replace(&path, &mut |out| {
                Limited { out, room }.write_all(b"newer content")
            })
            .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        replace(&path, &mut |out| out.write_all(b"newer content")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer content");
    }

    #[test]
    fn sweeping_removes_what_a_crash_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.partial"), b"torn").unwrap();
        fs::write(folder.path().join("a"), b"whole").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
