//! The statements of a list. Each begins with one filter, whose index has the order of the list.

use quadrille_projection::rusqlite::types::Value as Sql;
use quadrille_projection::rusqlite::{self, Connection, params_from_iter};

use super::{COUNTED, List, Order};
use crate::found::Found;
use crate::question::Cursor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Column(&'static str),
    Tag(&'static str),
}

impl Field {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Column(name) | Self::Tag(name) => name,
        }
    }
}

/// A statement as it grows.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) values: Vec<Sql>,
}

impl Statement {
    fn add<const N: usize>(&mut self, text: &str, values: [Sql; N]) {
        self.text.push_str(text);
        self.values.extend(values);
    }
}

impl List {
    /// Which filter the statement begins with: the one that the fewest rows have, as far as they
    /// are counted. What SQLite knows of a table does not tell one value from another.
    pub(crate) fn begin(&self, rows: &Connection) -> rusqlite::Result<Option<usize>> {
        if self.among.is_some() || self.filters.len() < 2 {
            return Ok((self.among.is_none() && !self.filters.is_empty()).then_some(0));
        }
        let mut fewest = (u64::MAX, None);
        for (at, (field, value)) in self.filters.iter().enumerate() {
            let limit = COUNTED + 1;
            let (sql, mut values) = match field {
                Field::Column(name) => (format!("sagas s WHERE s.{name} = ?"), Vec::new()),
                Field::Tag(name) => {
                    ("tags WHERE name = ? AND value = ?".to_owned(), vec![(*name).to_owned()])
                }
            };
            values.push(value.clone());
            let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {sql} LIMIT {limit})");
            let mut count = rows.prepare_cached(&sql)?;
            let count: u64 = count.query_row(params_from_iter(values), |row| row.get(0))?;
            if count < fewest.0 {
                fewest = (count, Some(at));
            }
        }
        Ok(fewest.1)
    }

    /// `… FROM … WHERE …` behind `select`, and the table that has the keys of the order.
    fn statement(&self, select: &str, begin: Option<usize>) -> (Statement, &'static str) {
        let first = begin.map(|at| self.filters[at].0);
        let mut sql = Statement { text: format!("SELECT {select} FROM "), values: Vec::new() };
        let keys = match (first, &self.among) {
            (Some(Field::Tag(_)), _) => {
                // CROSS makes SQLite begin with the first table.
                sql.add("tags t CROSS JOIN sagas s ON s.saga = t.saga", []);
                "t"
            }
            (_, Some(sagas)) => {
                let join = "json_each(?) h CROSS JOIN sagas s ON s.saga = h.value";
                sql.add(join, [Sql::Text(sagas.clone())]);
                "s"
            }
            _ => {
                sql.add("sagas s", []);
                "s"
            }
        };
        sql.add(" WHERE true", []);
        for (at, (field, value)) in self.filters.iter().enumerate() {
            let value = Sql::Text(value.clone());
            let name = Sql::Text(field.name().to_owned());
            match field {
                Field::Tag(_) if begin == Some(at) => {
                    sql.add(" AND t.name = ? AND t.value = ?", [name, value]);
                }
                Field::Tag(_) => sql.add(
                    " AND EXISTS (SELECT 1 FROM tags x WHERE x.saga = s.saga AND x.name = ? \
                     AND x.value = ?)",
                    [name, value],
                ),
                Field::Column(column) if begin == Some(at) => {
                    sql.add(&format!(" AND s.{column} = ?"), [value]);
                }
                // The sign keeps SQLite from the index of this column.
                Field::Column(column) => sql.add(&format!(" AND +s.{column} = ?"), [value]),
            }
        }
        if self.order == Order::Worst {
            sql.add(" AND s.waits_since IS NOT NULL", []);
        }
        for (compare, at) in &self.dates {
            sql.add(&format!(" AND {keys}.opened_at {compare} ?"), [Sql::Integer(*at)]);
        }
        (sql, keys)
    }

    /// A page, with one row more than it has.
    pub(super) fn page(&self, begin: Option<usize>) -> Statement {
        let (mut sql, keys) = self.statement(Found::COLUMNS, begin);
        let key = if self.order == Order::Worst { "waits_since" } else { "opened_at" };
        let (compare, direction) =
            if self.order == Order::Newest { ("<", "DESC") } else { (">", "ASC") };
        if let Some(Cursor { at, opened, .. }) = self.after {
            let beyond = format!(" AND ({keys}.{key}, {keys}.opened) {compare} (?, ?)");
            sql.add(&beyond, [Sql::Integer(at), Sql::Integer(opened)]);
        }
        let limit = Sql::Integer(i64::try_from(self.limit).unwrap_or(200) + 1);
        let order = format!("{keys}.{key} {direction}, {keys}.opened {direction}");
        sql.add(&format!(" ORDER BY {order} LIMIT ?"), [limit]);
        sql
    }

    pub(super) fn count(&self, begin: Option<usize>) -> Statement {
        let (Statement { text, values }, _) = self.statement("1", begin);
        let limit = COUNTED + 1;
        Statement { text: format!("SELECT count(*) FROM ({text} LIMIT {limit})"), values }
    }
}
