//! Places where a test may end the process, or fill the disk, while files are written. Nothing of
//! it is compiled into a program: there a place is nothing, and a file is written straight.

#[cfg(not(test))]
mod none {
    use std::fs::File;
    use std::io;

    /// A place where nothing happens.
    #[inline]
    pub(crate) fn at() -> io::Result<()> {
        Ok(())
    }

    /// The file itself.
    pub(crate) fn writer(file: File) -> File {
        file
    }

    /// The file behind a writer.
    pub(crate) fn file(writer: &File) -> &File {
        writer
    }
}

#[cfg(not(test))]
pub(crate) use none::{at, file, writer};

#[cfg(test)]
pub(crate) use plan::{Fault, at, file, passed, plan, writer};

#[cfg(test)]
mod plan {
    use std::cell::Cell;
    use std::fs::File;
    use std::io::{self, Write};

    /// What happens at a place.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Fault {
        /// The process ends as if it were killed: nothing is cleaned up.
        Killed,
        /// The disk is full from here on.
        Full,
    }

    thread_local! {
        static PLAN: Cell<Option<(u64, Fault)>> = const { Cell::new(None) };
        static PASSED: Cell<u64> = const { Cell::new(0) };
    }

    /// Lets a fault happen at place number `at` of this thread, or nowhere.
    pub(crate) fn plan(fault: Option<(u64, Fault)>) {
        PLAN.set(fault);
        PASSED.set(0);
    }

    /// Places passed since the last plan.
    pub(crate) fn passed() -> u64 {
        PASSED.get()
    }

    /// A place.
    pub(crate) fn at() -> io::Result<()> {
        let here = PASSED.get();
        PASSED.set(here + 1);
        match PLAN.get() {
            Some((n, Fault::Killed)) if n == here => std::process::abort(),
            Some((n, Fault::Full)) if n <= here => Err(io::ErrorKind::StorageFull.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// A file written a few bytes at a time, each time past a place.
    pub(crate) struct Torn(File);

    const PIECE: usize = 96;

    impl Write for Torn {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            at()?;
            self.0.write(&bytes[..bytes.len().min(PIECE)])
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    /// The file, torn.
    pub(crate) fn writer(file: File) -> Torn {
        Torn(file)
    }

    /// The file behind a writer.
    pub(crate) fn file(writer: &Torn) -> &File {
        &writer.0
    }
}
