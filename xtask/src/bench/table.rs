//! Tables to read in a terminal and to paste into Markdown, and the numbers in them.

use std::fmt::{Display, Formatter};
use std::time::Duration;

use super::sample::Sample;

/// What stands where nothing was measured.
const NOTHING: &str = "–";

/// Rows under a head; the first column is text, the others are numbers.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// An empty one.
    pub fn new(title: impl Into<String>, head: &[&str]) -> Table {
        let head = head.iter().map(ToString::to_string).collect();
        Table { title: title.into(), rows: vec![head], notes: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// What it says.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"title": self.title, "rows": self.rows, "notes": self.notes})
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows[0].len();
        let width = |text: &str| text.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0).max(3))
            .collect();
        writeln!(f, "{}\n", self.title)?;
        for (index, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let fill = " ".repeat(widths[column] - width(cell));
                match column {
                    0 => write!(f, "| {cell}{fill} ")?,
                    _ => write!(f, "| {fill}{cell} ")?,
                }
            }
            writeln!(f, "|")?;
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    match column {
                        0 => write!(f, "|{}", "-".repeat(width + 2))?,
                        _ => write!(f, "|{}:", "-".repeat(width + 1))?,
                    }
                }
                writeln!(f, "|")?;
            }
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// What a number should reach, and whether it did.
pub struct Aim {
    text: String,
    met: Option<bool>,
}

impl Aim {
    /// `met` is none where it cannot be told, because a side was left out.
    pub fn new(text: impl Into<String>, met: Option<bool>) -> Aim {
        Aim { text: text.into(), met }
    }

    /// No aim.
    pub fn none() -> Aim {
        Aim::new(NOTHING, None)
    }

    /// The cells `aim` and `met`.
    pub fn cells(&self) -> [String; 2] {
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "no",
            None => NOTHING,
        };
        [self.text.clone(), met.to_owned()]
    }
}

/// The head of a table that compares throughput: [`comparison`] gives its rows.
pub const COMPARISON: [&str; 11] = [
    "work",
    "connections",
    "Corollary /s",
    "p50",
    "p99",
    "PostgreSQL /s",
    "p50",
    "p99",
    "ratio",
    "aim",
    "met",
];

/// Which of [`COMPARISON`] names the other side.
pub const PEER: usize = 5;

/// A row below [`COMPARISON`], of PostgreSQL's sample and Corollary's.
pub fn comparison(
    work: &str,
    connections: usize,
    [postgres, corollary]: [Option<Sample>; 2],
    aim: &Aim,
) -> Vec<String> {
    let mut cells = vec![work.to_owned(), connections.to_string()];
    for side in [corollary, postgres] {
        cells.push(count(side.map(|sample| sample.per_second)));
        cells.push(time(side.map(|sample| sample.p50)));
        cells.push(time(side.map(|sample| sample.p99)));
    }
    cells.push(ratio(times(corollary, postgres)));
    cells.extend(aim.cells());
    cells
}

/// How many times as many a second the first side does.
pub fn times(first: Option<Sample>, second: Option<Sample>) -> Option<f64> {
    Some(first?.per_second / second?.per_second)
}

/// A number with its thousands apart: `12,345`; small ones with a digit after the point.
pub fn count(number: Option<f64>) -> String {
    let Some(number) = number else { return NOTHING.to_owned() };
    if number < 99.95 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time in the unit that suits it.
pub fn time(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return NOTHING.to_owned() };
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        10_000.0.. => format!("{:.1} s", millis / 1e3),
        1_000.0.. => format!("{:.2} s", millis / 1e3),
        100.0.. => format!("{millis:.0} ms"),
        10.0.. => format!("{millis:.1} ms"),
        _ => format!("{millis:.2} ms"),
    }
}

/// An amount of memory in MB.
pub fn memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| NOTHING.to_owned(), |bytes| format!("{:.0} MB", bytes as f64 / 1e6))
}

/// A ratio: `5.31x`.
pub fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| NOTHING.to_owned(), |ratio| format!("{ratio:.2}x"))
}

/// A share: `52 %`.
pub fn share(share: Option<f64>) -> String {
    share.map_or_else(|| NOTHING.to_owned(), |share| format!("{:.0} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("point", &["work", "/s", "aim"]);
        table.row(vec!["one".into(), count(Some(1_234_567.4)), "≥ 5x".into()]);
        table.row(vec!["another".into(), count(None), "–".into()]);
        table.note("a note");
        assert_eq!(
            table.to_string(),
            "point\n\n\
             | work    |        /s |  aim |\n\
             |---------|----------:|-----:|\n\
             | one     | 1,234,567 | ≥ 5x |\n\
             | another |         – |    – |\n\
             \n\
             a note\n"
        );
    }

    #[test]
    fn numbers_are_short() {
        let counts = [0.0, 9.94, 99.9, 999.4, 999.6, 1_000.0, 1_234_567.0].map(|number| count(Some(number)));
        assert_eq!(counts, ["0.0", "9.9", "99.9", "999", "1,000", "1,000", "1,234,567"]);
        let times =
            [42, 12_340, 123_400, 1_234_000, 12_340_000].map(|us| time(Some(Duration::from_micros(us))));
        assert_eq!(times, ["0.04 ms", "12.3 ms", "123 ms", "1.23 s", "12.3 s"]);
        assert_eq!(
            [ratio(Some(5.309)), share(Some(0.523)), memory(Some(512_000_000))],
            ["5.31x", "52 %", "512 MB"]
        );
    }

    #[test]
    fn a_comparison_has_a_cell_for_each_column() {
        let sample = |per_second| Some(Sample { per_second, ..Sample::default() });
        let aim = Aim::new("≥ 5x", Some(false));
        let row = comparison("one update", 32, [sample(8_100.0), sample(32_400.0)], &aim);
        assert_eq!(row.len(), COMPARISON.len());
        assert_eq!((row[2].as_str(), row[5].as_str(), row[8].as_str()), ("32,400", "8,100", "4.00x"));
        assert_eq!(row[9..], ["≥ 5x", "no"]);
        let half = comparison("one update", 32, [None, sample(1.0)], &Aim::none());
        assert_eq!(half[5..], ["–", "–", "–", "–", "–", "–"]);
    }
}
