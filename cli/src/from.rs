//! `train --from`: weights that start as another run left them, by their paths.
//!
//! ```text
//! --map CMS.mid=Block[1].SwiGLU     CMS.mid.Linear.W starts as Block[1].SwiGLU.Linear.W
//! ```

use crate::fail::Failure;
use crate::run_folder::{Run, newest};
use nestor_runtime::tensor_file::{self, HostTensor};
use std::path::{Path, PathBuf};

/// What weights start from.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct FromArguments {
    /// A run or a checkpoint whose weights this run starts with, wherever paths and shapes are the same.
    #[arg(long, value_name = "RUN")]
    pub(crate) from: Option<PathBuf>,
    /// Weights whose path holds PART start as those with OTHER in its place.
    #[arg(long = "map", value_name = "PART=OTHER", requires = "from")]
    pub(crate) map: Vec<String>,
}

/// The weights of another run, and how they are found.
pub(crate) struct Others {
    from: PathBuf,
    tensors: Vec<HostTensor>,
    /// Parts of paths here and there, and how many weights each has found.
    map: Vec<(String, String, usize)>,
    /// How many weights start as others, of how many.
    pub(crate) taken: (usize, usize),
}

impl Others {
    /// What was asked for; nothing where nothing was.
    pub(crate) fn open(asked: &FromArguments) -> Result<Option<Self>, Failure> {
        let Some(from) = &asked.from else { return Ok(None) };
        let mut map = Vec::new();
        for pair in &asked.map {
            let Some((to, of)) = pair
                .split_once('=')
                .filter(|(a, b)| !a.trim().is_empty() && !b.trim().is_empty())
            else {
                return Err(Failure::usage(format!(
                    "`--map {pair}`: expected a part of a path here and one there, such as \
                     `--map CMS.mid=Block[1].SwiGLU`"
                )));
            };
            map.push((to.trim().to_owned(), of.trim().to_owned(), 0));
        }
        let tensors = tensors(from)?;
        Ok(Some(Self { from: from.clone(), tensors, map, taken: (0, 0) }))
    }

    /// What a weight starts as, where the other run has it.
    pub(crate) fn weight(
        &mut self,
        path: &str,
        dims: &[usize],
    ) -> Result<Option<HostTensor>, Failure> {
        self.taken.1 += 1;
        let place = self.map.iter().position(|(to, ..)| holds(path, to));
        let wanted = match place {
            Some(n) => path.replacen(&self.map[n].0, &self.map[n].1, 1),
            None => path.to_owned(),
        };
        let Some(found) = self.tensors.iter().find(|t| t.name == wanted) else {
            return Ok(None);
        };
        if found.dims != dims {
            return Err(Failure::data(format!(
                "`{path}` is {dims:?}, `{wanted}` of {} is {:?}: only weights of one shape start as one \
                 another",
                self.from.display(),
                found.dims
            )));
        }
        if let Some(n) = place {
            self.map[n].2 += 1;
        }
        self.taken.0 += 1;
        Ok(Some(HostTensor { name: path.to_owned(), ..found.clone() }))
    }

    /// Refuses what found nothing.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let names = || -> String {
            let own = self.tensors.iter().map(|t| t.name.as_str());
            let own =
                own.filter(|n| !n.starts_with("optimiser.") && !n.starts_with("window."));
            own.take(12).collect::<Vec<_>>().join(", ")
        };
        if let Some((to, of, _)) = self.map.iter().find(|(.., found)| *found == 0) {
            return Err(Failure::data(format!(
                "`--map {to}={of}` finds no weight: {} has {}",
                self.from.display(),
                names()
            )));
        }
        if self.taken.0 == 0 {
            return Err(Failure::data(format!(
                "no weight of the model has a path that {} has: say which with `--map PART=OTHER`; it \
                 has {}",
                self.from.display(),
                names()
            )));
        }
        Ok(())
    }
}

/// Whether a path holds a part, whole segments of it.
fn holds(path: &str, part: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| c == '.' || c == '[');
    path.match_indices(part).any(|(at, _)| {
        let before = path[..at].chars().next_back();
        before.is_none_or(|c| c == '.') && ends(path[at + part.len()..].chars().next())
    })
}

fn tensors(from: &Path) -> Result<Vec<HostTensor>, Failure> {
    if from.is_dir() {
        let run = Run::open(from)?;
        let (_, checkpoint) = newest(from, &run.spec)?.ok_or_else(|| {
            Failure::data(format!("{} holds no checkpoint yet", from.display()))
        })?;
        return Ok(checkpoint.tensors);
    }
    let file = tensor_file::read(from).map_err(|e| {
        Failure::data(format!(
            "cannot read {}: {e}; name a run or a checkpoint",
            from.display()
        ))
    })?;
    Ok(file.tensors)
}
