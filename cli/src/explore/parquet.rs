//! A table as an Apache Parquet file (format 2.10): one group of rows, a page a column, values as they
//! are (PLAIN, no compression), so that every reader takes it. Its headers are structures of Thrift's
//! compact protocol: fields by the distance of their numbers, whole numbers as zigzag varints.

use super::table::{Column, Table};

/// Numbers of the format.
mod code {
    pub(super) const INT64: i64 = 2;
    pub(super) const DOUBLE: i64 = 5;
    pub(super) const BYTE_ARRAY: i64 = 6;
    pub(super) const UTF8: i64 = 0;
    pub(super) const REQUIRED: i64 = 0;
    pub(super) const OPTIONAL: i64 = 1;
    pub(super) const PLAIN: i64 = 0;
    pub(super) const RLE: i64 = 3;
    pub(super) const DATA_PAGE: i64 = 0;
    pub(super) const UNCOMPRESSED: i64 = 0;
}

const MAGIC: &[u8] = b"PAR1";

/// A table of so many rows as a file.
pub(super) fn write(table: &Table, rows: usize) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut chunks = Vec::new();
    for (name, column) in table {
        let place = out.len();
        let page = page(column);
        out.extend(header(rows, page.len()));
        out.extend(page);
        chunks.push((name, column, place, out.len() - place));
    }
    let bytes = chunks.iter().map(|c| c.3).sum::<usize>();
    let columns: Vec<Value> = chunks
        .into_iter()
        .map(|(name, column, place, size)| {
            let about = vec![
                (1, Value::I32(kind(column))),
                (2, Value::List(vec![Value::I32(code::PLAIN), Value::I32(code::RLE)])),
                (3, Value::List(vec![Value::Text(name.clone())])),
                (4, Value::I32(code::UNCOMPRESSED)),
                (5, Value::I64(rows as i64)),
                (6, Value::I64(size as i64)),
                (7, Value::I64(size as i64)),
                (9, Value::I64(place as i64)),
            ];
            let chunk = vec![(2, Value::I64(place as i64)), (3, Value::Struct(about))];
            Value::Struct(chunk)
        })
        .collect();
    let group = vec![
        (1, Value::List(columns)),
        (2, Value::I64(bytes as i64)),
        (3, Value::I64(rows as i64)),
    ];
    let file = vec![
        (1, Value::I32(1)),
        (2, Value::List(schema(table))),
        (3, Value::I64(rows as i64)),
        (4, Value::List(vec![Value::Struct(group)])),
        (6, Value::Text("nestor".to_owned())),
    ];
    let begin = out.len();
    structure(&file, &mut out);
    let length = (out.len() - begin) as u32;
    out.extend(length.to_le_bytes());
    out.extend(MAGIC);
    out
}

fn schema(table: &Table) -> Vec<Value> {
    let root =
        vec![(4, Value::Text("ranking".to_owned())), (5, Value::I32(table.len() as i64))];
    let column = |(name, column): &(String, Column)| {
        let (presence, text) = match column {
            Column::Whole(_) => (code::REQUIRED, false),
            Column::Real(_) => (code::OPTIONAL, false),
            Column::Text(_) => (code::REQUIRED, true),
        };
        let mut fields = vec![
            (1, Value::I32(kind(column))),
            (3, Value::I32(presence)),
            (4, Value::Text(name.clone())),
        ];
        if text {
            fields.push((6, Value::I32(code::UTF8)));
        }
        Value::Struct(fields)
    };
    std::iter::once(Value::Struct(root)).chain(table.iter().map(column)).collect()
}

fn kind(column: &Column) -> i64 {
    match column {
        Column::Whole(_) => code::INT64,
        Column::Real(_) => code::DOUBLE,
        Column::Text(_) => code::BYTE_ARRAY,
    }
}

/// The values of a column, after which of them are there where some may not be.
fn page(column: &Column) -> Vec<u8> {
    match column {
        Column::Whole(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Column::Real(values) => {
            let mut out = presence(values);
            out.extend(values.iter().flatten().flat_map(|x| x.to_le_bytes()));
            out
        }
        Column::Text(values) => {
            let one = |text: &String| {
                let length = (text.len() as u32).to_le_bytes();
                length.into_iter().chain(text.bytes()).collect::<Vec<u8>>()
            };
            values.iter().flat_map(one).collect()
        }
    }
}

/// Definition levels: one packed run of a bit a value, in groups of eight, after its length in bytes.
fn presence(values: &[Option<f64>]) -> Vec<u8> {
    let mut run = Vec::new();
    varint(((values.len().div_ceil(8) as u64) << 1) | 1, &mut run);
    run.extend(values.chunks(8).map(|group| {
        let bit = |(n, x): (usize, &Option<f64>)| u8::from(x.is_some()) << n;
        group.iter().enumerate().map(bit).sum::<u8>()
    }));
    let mut out = (run.len() as u32).to_le_bytes().to_vec();
    out.extend(run);
    out
}

fn header(rows: usize, bytes: usize) -> Vec<u8> {
    let values = vec![
        (1, Value::I32(rows as i64)),
        (2, Value::I32(code::PLAIN)),
        (3, Value::I32(code::RLE)),
        (4, Value::I32(code::RLE)),
    ];
    let page = vec![
        (1, Value::I32(code::DATA_PAGE)),
        (2, Value::I32(bytes as i64)),
        (3, Value::I32(bytes as i64)),
        (5, Value::Struct(values)),
    ];
    let mut out = Vec::new();
    structure(&page, &mut out);
    out
}

/// A value of Thrift.
enum Value {
    I32(i64),
    I64(i64),
    Text(String),
    List(Vec<Value>),
    Struct(Fields),
}

/// Fields by number, in order.
type Fields = Vec<(u8, Value)>;

impl Value {
    /// The number of its type.
    fn tag(&self) -> u8 {
        match self {
            Self::I32(_) => 5,
            Self::I64(_) => 6,
            Self::Text(_) => 8,
            Self::List(_) => 9,
            Self::Struct(_) => 12,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::I32(x) | Self::I64(x) => varint(((x << 1) ^ (x >> 63)) as u64, out),
            Self::Text(text) => {
                varint(text.len() as u64, out);
                out.extend(text.bytes());
            }
            Self::List(values) => {
                let tag = values.first().map_or(12, Self::tag);
                match u8::try_from(values.len()) {
                    Ok(count @ 0..15) => out.push((count << 4) | tag),
                    _ => {
                        out.push(0xf0 | tag);
                        varint(values.len() as u64, out);
                    }
                }
                values.iter().for_each(|v| v.write(out));
            }
            Self::Struct(fields) => structure(fields, out),
        }
    }
}

fn structure(fields: &Fields, out: &mut Vec<u8>) {
    let mut before = 0;
    for (number, value) in fields {
        out.push(((number - before) << 4) | value.tag());
        before = *number;
        value.write(out);
    }
    out.push(0);
}

fn varint(mut x: u64, out: &mut Vec<u8>) {
    while x >= 0x80 {
        out.push(x as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        let bytes = |value: Value| {
            let mut out = Vec::new();
            value.write(&mut out);
            out
        };
        assert_eq!(bytes(Value::I32(1)), [2]);
        assert_eq!(bytes(Value::I64(-1)), [1]);
        assert_eq!(bytes(Value::I64(300)), [0xd8, 0x04]);
        assert_eq!(bytes(Value::Text("ab".into())), [2, b'a', b'b']);
        let many = (0..20).map(Value::I32).collect();
        assert_eq!(bytes(Value::List(many))[..2], [0xf5, 20]);
        let fields = vec![(1, Value::I32(0)), (5, Value::I64(1))];
        assert_eq!(bytes(Value::Struct(fields)), [0x15, 0, 0x46, 2, 0]);
    }

    #[test]
    fn a_file_holds_its_values_where_its_end_says() {
        let table = vec![
            ("n".to_owned(), Column::Whole(vec![7, -1])),
            ("x".to_owned(), Column::Real(vec![None, Some(0.5)])),
            ("t".to_owned(), Column::Text(vec!["one".into(), String::new()])),
        ];
        let file = write(&table, 2);
        assert_eq!((&file[..4], &file[file.len() - 4..]), (MAGIC, MAGIC));
        let length = &file[file.len() - 8..file.len() - 4];
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let end = &file[file.len() - 8 - length..];
        // The version, then a list of the root and three columns.
        assert_eq!(end[..5], [0x15, 2, 0x19, 0x4c, 0x48]);
        let page = [7_i64, -1].map(i64::to_le_bytes).concat();
        assert!(file.windows(16).any(|w| w == page));
        // Two bytes of a run: one group, the second value is there.
        let real = [&[2, 0, 0, 0, 3, 2][..], &0.5_f64.to_le_bytes()].concat();
        assert!(file.windows(real.len()).any(|w| w == real));
        let text = [&[3, 0, 0, 0][..], b"one", &[0; 4]].concat();
        assert!(file.windows(text.len()).any(|w| w == text));
    }
}
