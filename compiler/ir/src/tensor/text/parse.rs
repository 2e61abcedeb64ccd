//! Text back to a graph. Meant for tests and for looking at one stage alone, so the first error
//! ends it; each names its line.

use super::attribute::{Attribute, Given, op_of};
use super::print::{feed_name, yield_name};
use crate::dim::Dim;
use crate::entity::Entity;
use crate::tensor::{Axis, Feed, Graph, Layout, Op, Reach, Scan, Stride, Value, Yield};
use crate::text::{ParseError, Read, Reader};
use crate::ty::Type;
use smallvec::SmallVec;

/// Reads a graph.
///
/// # Errors
/// Where the text is no graph or a node is ill-typed.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    Reader::whole(text, graph)
}

/// A graph between braces.
pub(crate) fn graph(r: &mut Reader) -> Read<Graph> {
    r.need("graph {")?;
    r.graph_body()
}

impl Reader {
    /// Lines up to the closing brace.
    fn graph_body(&mut self) -> Result<Graph, String> {
        let mut graph = Graph::new();
        while !self.eat("}") {
            if self.eat("output") {
                let name = self.string()?;
                let value = self.value(&graph)?;
                graph.output(name, value);
            } else {
                self.node(&mut graph)?;
            }
        }
        Ok(graph)
    }

    fn node(&mut self, graph: &mut Graph) -> Result<(), String> {
        let mut results: Vec<(String, Option<String>, Type)> = Vec::new();
        if self.peek().starts_with('%') {
            loop {
                let id = self.next();
                let name = if self.peek().starts_with('"') {
                    Some(self.string()?)
                } else {
                    None
                };
                self.need(":")?;
                results.push((id, name, self.ty()?));
                if !self.eat(",") {
                    break;
                }
            }
            self.need("=")?;
        }
        let op_name = self.next();
        let attributes = if self.eat("{") {
            self.list("}", |r| {
                let name = r.next();
                r.need("=")?;
                Ok((name, r.attribute()?))
            })?
        } else {
            Vec::new()
        };
        let (op, operands) = if op_name == "scan" {
            self.scan(graph, &attributes)?
        } else {
            let ty = results.first().map(|r| r.2.clone());
            let given = Given { attributes, ty, input: graph.inputs.len() };
            let op = op_of(&op_name, &given)?;
            let mut operands = Vec::new();
            // A result's line begins with a value too: it is followed by a colon or a name.
            while self.peek().starts_with('%') && !self.starts_node() {
                operands.push(self.value(graph)?);
                self.eat(",");
            }
            (op, operands)
        };
        let is_input = matches!(op, Op::Input { .. });
        let made = graph.try_add(op, &operands).map_err(|e| e.to_string())?;
        if made.len() != results.len() {
            return Err(format!("`{op_name}` gives {} results", made.len()));
        }
        for (value, (id, name, ty)) in made.into_iter().zip(results) {
            if value.to_string() != id {
                return Err(format!("this value is {value}, not {id}"));
            }
            if *graph.ty(value) != ty {
                return Err(format!("{id} is {}, not {ty}", graph.ty(value)));
            }
            if is_input {
                let name = name
                    .clone()
                    .unwrap_or_else(|| format!("input{}", graph.inputs.len()));
                graph.inputs.push(crate::tensor::graph::Named { name, value });
            }
            graph.values[value].name = name;
        }
        Ok(())
    }

    fn starts_node(&self) -> bool {
        self.ahead(1) == ":" || (self.ahead(1).starts_with('"') && self.ahead(2) == ":")
    }

    fn scan(
        &mut self,
        graph: &Graph,
        attributes: &[(String, Attribute)],
    ) -> Result<(Op, Vec<Value>), String> {
        let find =
            |name: &str| attributes.iter().find(|(n, _)| n == name).map(|(_, a)| a);
        let dim = |a: &Attribute| match a {
            Attribute::Dim(d) => Ok(*d),
            Attribute::Number(n) => Ok(Dim::Fixed(*n as usize)),
            other => Err(format!("{other} is no dimension")),
        };
        let map = match find("map") {
            Some(Attribute::Word(words)) => {
                words.split_whitespace().map(dim_of).collect()
            }
            _ => Err("attribute `map` is missing".to_owned()),
        }?;
        let time = dim(find("time").ok_or("attribute `time` is missing")?)?;
        let stride = match find("chunk") {
            Some(Attribute::Number(n)) => Stride::Chunk(*n as usize),
            Some(Attribute::Dim(Dim::Fixed(n))) => Stride::Chunk(*n),
            _ => Stride::Token,
        };
        let (mut feeds, mut yields, mut operands) = (Vec::new(), Vec::new(), Vec::new());
        while !self.eat("{") {
            let word = self.next();
            if word == "yield" {
                let word = self.next();
                let kind = [Yield::Stream, Yield::Step].into_iter();
                let kind = kind.into_iter().find(|k| yield_name(*k) == word);
                yields.push((kind.ok_or(format!("no yield `{word}`"))?, self.layout()?));
                continue;
            }
            let all = [
                Feed::Shared,
                Feed::Stream,
                Feed::Step,
                Feed::Initial,
                Feed::Mask,
                Feed::Reach(Reach::Before),
                Feed::Reach(Reach::At),
                Feed::Reach(Reach::After),
            ];
            let feed = all.into_iter().find(|f| feed_name(*f) == word);
            feeds.push((feed.ok_or(format!("no feed `{word}`"))?, self.layout()?));
            operands.push(self.value(graph)?);
        }
        let body = self.graph_body()?;
        let reverse = find("reverse").is_some();
        let scan = Scan { map, time, stride, reverse, feeds, yields, body };
        Ok((Op::Scan { scan: Box::new(scan) }, operands))
    }

    fn layout(&mut self) -> Result<Layout, String> {
        self.need("(")?;
        let axes = self.list(")", |r| {
            let word = r.next();
            match word.as_str() {
                "t" => Ok(Axis::Time),
                "." => Ok(Axis::Body),
                map => {
                    let number = map.strip_prefix('m').and_then(|n| n.parse().ok());
                    number.map(Axis::Map).ok_or_else(|| format!("no axis `{map}`"))
                }
            }
        })?;
        Ok(axes.into_iter().collect())
    }

    fn value(&mut self, graph: &Graph) -> Result<Value, String> {
        let token = self.next();
        let number = token.strip_prefix('%').and_then(|n| n.parse().ok());
        let value = number
            .map(Value::new)
            .ok_or_else(|| format!("a value expected, not `{token}`"))?;
        graph
            .values
            .get(value)
            .map(|_| value)
            .ok_or_else(|| format!("no value {value} yet"))
    }

    fn attribute(&mut self) -> Result<Attribute, String> {
        if self.eat("(") {
            let entries = self.list(")", |r| {
                let first = r.next();
                let second = if r.eat(":") { Some(r.next()) } else { None };
                Ok((first, second))
            })?;
            let number =
                |s: &str| s.parse::<usize>().map_err(|_| format!("`{s}` is no axis"));
            if entries.iter().any(|e| e.1.is_some()) {
                let pairs: Result<SmallVec<_>, String> = entries
                    .iter()
                    .map(|(a, b)| Ok((number(a)?, number(b.as_deref().unwrap_or(""))?)))
                    .collect();
                return Ok(Attribute::Pairs(pairs?));
            }
            let axes: Result<Vec<usize>, String> =
                entries.iter().map(|e| number(&e.0)).collect();
            return Ok(Attribute::Axes(axes?));
        }
        if self.eat("[") {
            let dims = self.list("]", Self::dim)?;
            let words: Vec<String> = dims.iter().map(ToString::to_string).collect();
            return Ok(Attribute::Word(words.join(" ")));
        }
        if let Ok(n) = self.peek().parse::<f64>() {
            self.next();
            return Ok(Attribute::Number(n));
        }
        match self.peek() {
            "B" | "T" | "P" => Ok(Attribute::Dim(self.dim()?)),
            _ => Ok(Attribute::Word(self.next())),
        }
    }
}

fn dim_of(word: &str) -> Result<Dim, String> {
    Reader::whole(word, Reader::dim).map_err(|_| format!("`{word}` is no dimension"))
}
