//! What a run needs before it begins: the checked model, its data, and whether the two fit.

use crate::device::Place;
use crate::fail::Failure;
use crate::roles::{Needs, Roles, sizes};
use crate::run_folder::Run;
use crate::spec;
use crate::train::default_data;
use nestor_compiler::source::Loaded;
use nestor_compiler::trained::{Trained, spec_hash, trained_for, trained_with_outputs};
use nestor_compiler::{FormOptions, Program, check};
use nestor_runtime::tasks::{Size, TaskData};
use nestor_runtime::train::data::{
    Corpus, DataIdentity, DataOptions, Source, cache_beside,
};
use std::path::{Path, PathBuf};

/// What is to be trained, on what.
pub(crate) struct Request<'a> {
    /// The model's file.
    pub(crate) file: &'a Path,
    /// The model; the file's last one where left out.
    pub(crate) name: Option<&'a str>,
    /// Settings, `name=value`.
    pub(crate) set: &'a [String],
    /// The task; text where left out.
    pub(crate) task: Option<&'a str>,
    /// The data; what ships with the examples where left out.
    pub(crate) data: Option<&'a Path>,
    /// The tokenizer of text.
    pub(crate) tokenizer: Option<&'a Path>,
    /// The run's folder.
    pub(crate) folder: &'a Path,
}

/// A model and its data.
pub(crate) struct Session {
    /// All texts.
    pub(crate) loaded: Loaded,
    /// The model.
    pub(crate) program: Program,
    /// Its settings; the vocabulary of a task is one of them.
    pub(crate) set: Vec<String>,
    /// The hash of all that the model's meaning depends on.
    pub(crate) hash: String,
    /// The data.
    pub(crate) data: Box<dyn Source>,
    /// What the data is, for the record.
    pub(crate) identity: DataIdentity,
    /// The size and the sequence length of the task.
    pub(crate) task: Option<(Size, usize)>,
}

impl Session {
    /// Checks a model and opens its data; warnings are told.
    pub(crate) fn open(request: &Request<'_>) -> Result<Self, Failure> {
        let loaded = spec::loaded(request.file)?;
        let path =
            request.data.map_or_else(|| default_data(request.file), Path::to_owned);
        let path = absolute(&path);
        let mut set = request.set.to_vec();
        let task = match request.task {
            Some(text) => {
                let there = request.data.is_some() || path.exists();
                let task = TaskData::open(text, there.then_some(path.clone()));
                let task = task.map_err(Failure::data)?;
                let known = check::parameters(&loaded, request.name);
                sizes(&task, &known, &mut set);
                Some(task)
            }
            None => None,
        };
        let program = spec::program(&loaded, request.name, &set)?;
        let hash = spec_hash(&loaded, &program.name, &set);
        let roles = Roles::of(&program)?;
        if let Some(task) = task {
            roles.fit(&Needs::of(&task))?;
            let size = Some((task.task.size, task.task.length));
            let identity = task.identity();
            let data = Box::new(task);
            return Ok(Self { loaded, program, set, hash, data, identity, task: size });
        }
        let corpus = Corpus::open(&DataOptions {
            path,
            tokenizer: request.tokenizer.map(Path::to_owned),
            validation: 0.1,
            cache: cache_beside(request.folder),
        })
        .map_err(Failure::data)?;
        let (kinds, (_, known)) = (corpus.codec.vocabulary(), roles.tokens()?);
        if kinds > known {
            return Err(roles.too_many(kinds, known));
        }
        let identity = corpus.identity.clone();
        let data = Box::new(corpus);
        Ok(Self { loaded, program, set, hash, data, identity, task: None })
    }

    /// The model as machine code; a task needs its answers beside the loss. Sequences of a text have all this
    /// length, those of a task may be tested longer.
    pub(crate) fn compiled(
        &self,
        (batch, length): (usize, usize),
        run: &Run,
        place: &Place,
    ) -> Result<Trained, Failure> {
        let longest = self.task.is_none().then_some(length);
        let workers = place.workers(batch);
        let forms = FormOptions { longest, workers, ..run.forms() };
        compiled_in(&self.program, forms, self.task.is_some(), place)
    }
}

/// A run's model as machine code.
pub(crate) fn compiled(
    program: &Program,
    run: &Run,
    place: &Place,
) -> Result<Trained, Failure> {
    compiled_in(program, run.forms(), run.data.task.is_some(), place)
}

fn compiled_in(
    program: &Program,
    forms: FormOptions,
    task: bool,
    place: &Place,
) -> Result<Trained, Failure> {
    let compile = if task { trained_with_outputs } else { trained_for };
    compile(program, forms, place.machine()).map_err(Failure::native)
}

/// A path that is good from every folder, where there is something at it.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
