//! Files joined end to end and read by position, so that data may be larger than memory.
//!
//! A path is a file, or a folder whose files (hidden ones left out, subfolders included) are
//! joined in the order of their relative paths. Reads are positional (`pread`), served by the
//! page cache: nothing is held in memory, and a file that shrinks while training is an error
//! with its name, where a memory map would end the process. The hash of the content is part of
//! a run's identity: one that is resumed must see the data it began with.

use super::sealed::hex;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files joined end to end.
#[derive(Debug)]
pub struct Files {
    parts: Vec<Part>,
    length: u64,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    start: u64,
    length: u64,
    /// Held open while there are few parts; a folder may hold more files than may be open.
    open: Option<File>,
}

/// How many parts are held open.
const HELD: usize = 64;

/// A failure and the file it happened to.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Files {
    /// The file at `path`, or the files below it.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let mut paths = Vec::new();
        collect(path, &mut paths)?;
        paths.sort();
        let mut files = Self { parts: Vec::new(), length: 0 };
        for path in paths {
            let at = |source| ReadError { path: path.clone(), source };
            let file = File::open(&path).map_err(at)?;
            let length = file.metadata().map_err(at)?.len();
            if length > 0 {
                let open = (files.parts.len() < HELD).then_some(file);
                files.parts.push(Part { path, start: files.length, length, open });
                files.length += length;
            }
        }
        Ok(files)
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `out` from byte `start` on; the bytes must exist.
    pub fn read(&self, start: u64, out: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        let mut index = self.parts.partition_point(|p| p.start + p.length <= start);
        while done < out.len() {
            let Some(part) = self.parts.get(index) else {
                let path = self.parts.last().map(|p| p.path.clone()).unwrap_or_default();
                let source = io::ErrorKind::UnexpectedEof.into();
                return Err(ReadError { path, source });
            };
            let within = start + done as u64 - part.start;
            let count = (out.len() - done).min((part.length - within) as usize);
            let piece = &mut out[done..done + count];
            let at = |source| ReadError { path: part.path.clone(), source };
            match &part.open {
                Some(file) => file.read_exact_at(piece, within).map_err(at)?,
                None => File::open(&part.path)
                    .and_then(|file| file.read_exact_at(piece, within))
                    .map_err(at)?,
            }
            done += count;
            index += 1;
        }
        Ok(())
    }

    /// Hash of the joined content.
    pub fn hash(&self) -> Result<String, ReadError> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.length {
            let count = (self.length - at).min(buffer.len() as u64) as usize;
            self.read(at, &mut buffer[..count])?;
            hash.update(&buffer[..count]);
            at += count as u64;
        }
        Ok(hex(&hash.finalize()))
    }

    /// The file that byte `at` lies in, and where in it.
    pub fn locate(&self, at: u64) -> Option<(&Path, u64)> {
        let part = self.parts.iter().find(|p| at < p.start + p.length)?;
        Some((&part.path, at - part.start))
    }
}

fn collect(path: &Path, out: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let at = |source| ReadError { path: path.to_path_buf(), source };
    if !fs::metadata(path).map_err(at)?.is_dir() {
        out.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(at)? {
        let entry = entry.map_err(at)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            collect(&entry.path(), out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_joined_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        write("c", "ghi");
        write("a", "abc");
        write("b/x", "def");
        write("empty", "");
        write(".hidden", "no");
        let files = Files::open(folder.path()).unwrap();
        assert_eq!(files.length(), 9);
        for start in 0..9usize {
            for end in start..=9 {
                let mut out = vec![0; end - start];
                files.read(start as u64, &mut out).unwrap();
                assert_eq!(out, b"abcdefghi"[start..end]);
            }
        }
        assert!(files.read(8, &mut [0; 2]).is_err());
        assert_eq!(files.locate(4).unwrap().1, 1);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write(&path, "0123456789").unwrap();
        let files = Files::open(&path).unwrap();
        fs::write(&path, "01").unwrap();
        let error = files.read(5, &mut [0; 2]).unwrap_err().to_string();
        assert!(error.contains("data"), "{error}");
    }
}
