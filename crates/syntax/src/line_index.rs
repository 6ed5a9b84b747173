//! From byte offsets to lines and columns as people count them: both from 1, columns in characters.
//!
//! A line ends after `\n`; a `\r` before it belongs to the line's end. Building is one pass over the text, a look-up
//! a binary search and one pass over the line.

/// The lines of one text.
pub struct LineIndex<'t> {
    text: &'t str,
    /// The byte offset at which each line starts; never empty.
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    /// Finds the lines of `text`.
    pub fn new(text: &'t str) -> LineIndex<'t> {
        let mut starts = vec![0];
        starts.extend(
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1),
        );
        LineIndex { text, starts }
    }

    /// The line and the column (in characters) of a byte offset, both 1-based. An offset past the end counts as the
    /// end, one within a character as that character.
    pub fn line_column(&self, offset: u32) -> (u32, u32) {
        let offset = (offset as usize).min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let start = self.starts[line];
        let column = self.text[start..]
            .char_indices()
            .take_while(|(at, c)| start + at + c.len_utf8() <= offset)
            .count();
        (line as u32 + 1, column as u32 + 1)
    }

    /// How many lines there are; a text that ends with a line break has an empty last line.
    pub fn line_count(&self) -> u32 {
        self.starts.len() as u32
    }

    /// The text of a 1-based line without its line break; empty past the end.
    pub fn line(&self, line: u32) -> &'t str {
        let index = line as usize - 1;
        let Some(&start) = self.starts.get(index) else { return "" };
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_characters_from_one() {
        let index = LineIndex::new("ab\r\näö=c\n");
        let check = |offset, expected| assert_eq!(index.line_column(offset), expected, "offset {offset}");
        check(0, (1, 1));
        check(3, (1, 4));
        check(4, (2, 1));
        check(5, (2, 1)); // within ä
        check(6, (2, 2));
        check(8, (2, 3));
        check(10, (2, 5));
        check(11, (3, 1));
        check(999, (3, 1));
        assert_eq!((index.line(1), index.line(2), index.line(3), index.line(4)), ("ab", "äö=c", "", ""));
        assert_eq!(index.line_count(), 3);
    }
}
