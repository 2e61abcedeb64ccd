//! What the commands that look at kernels are asked for: targets, products, widths and names, beside words of their own.

use nestor_compiler::gpu::{Products, Target};

/// Which rows.
pub struct Asked {
    /// Generations.
    pub targets: Vec<Target>,
    /// How products are computed.
    pub products: Vec<Products>,
    /// Widths of heads.
    pub widths: Vec<usize>,
    /// Memories; all where none is named.
    pub names: Vec<String>,
}

impl Asked {
    /// Whether a memory is asked for.
    pub fn has(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|n| n == name)
    }

    /// Reads a command's words; of one that begins with `--` and is not common to all, `own` takes what follows as it needs it, and says whether it knows it.
    ///
    /// # Errors
    /// What is wrong with a word.
    pub fn read(
        mut self,
        words: impl Iterator<Item = String>,
        mut own: impl FnMut(&str, Next<'_>) -> Result<bool, String>,
    ) -> Result<Self, String> {
        let mut words = words;
        while let Some(word) = words.next() {
            let mut next = || words.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                "--targets" => self.targets = listed(&next()?, Target::find)?,
                "--products" => self.products = listed(&next()?, Products::find)?,
                "--widths" => self.widths = listed(&next()?, |t| t.parse().ok())?,
                other if other.starts_with("--") => {
                    if !own(other, &mut next)? {
                        return Err(format!("there is no `{other}`"));
                    }
                }
                _ => self.names.push(word),
            }
        }
        Ok(self)
    }
}

/// What gives the word that comes next.
pub(crate) type Next<'a> = &'a mut dyn FnMut() -> Result<String, String>;

/// The next word as a number.
///
/// # Errors
/// Where it is none.
pub fn number(next: Next<'_>) -> Result<u64, String> {
    let text = next()?;
    text.parse().map_err(|e| format!("{text}: {e}"))
}

/// Names with commas between, each by what finds it.
fn listed<T>(text: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let one = |t: &str| find(t).ok_or(format!("there is no `{t}`"));
    text.split(',').map(one).collect()
}
