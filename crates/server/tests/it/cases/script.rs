//! How a case is written.
//!
//! The text of a schema, a line `---`, and requests, each a paragraph of its own:
//!
//! ```text
//! # What is told of a line that begins with `#` is nothing.
//! PATCH /api/employees/$ann?dry_run=true
//! if-match: "3"
//! {"age": 31}
//! 200
//! corollary-revision: 4
//! {"age": 31, "…": "…"}
//! ```
//!
//! The request with its headers and its body, the status, with the code of the problem where it is one, and what the
//! reply has of headers and body. `50 × PATCH …` asks that often at once; then each line `49 × 409 unique` says how many
//! replies there are of a kind. What need not be encoded for people to read it is encoded by the one who asks.

/// A case.
#[derive(Debug)]
pub struct Script {
    pub schema: String,
    pub steps: Vec<Step>,
}

/// A request, and what must come back.
#[derive(Debug, Default)]
pub struct Step {
    /// Where it stands, from 1.
    pub line: usize,
    /// How often it is asked, at once.
    pub times: usize,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// How many replies of which status, and code of a problem.
    pub statuses: Vec<(usize, String)>,
    pub expected_headers: Vec<(String, String)>,
    /// Nothing is said of it where it is empty.
    pub expected_body: String,
}

impl Script {
    /// The error says what is wrong with the case itself.
    pub fn parse(text: &str) -> Result<Script, String> {
        let (schema, rest) = text.split_once("\n---\n").ok_or("no line `---` ends the schema")?;
        let mut line = schema.lines().count() + 1;
        let mut steps = Vec::new();
        let mut paragraph = Vec::new();
        for text in rest.lines().chain([""]) {
            line += 1;
            match text.trim_end() {
                comment if comment.starts_with('#') => {}
                "" if paragraph.is_empty() => {}
                "" => steps.push(Step::parse(&std::mem::take(&mut paragraph))?),
                text => paragraph.push((line, text)),
            }
        }
        if steps.is_empty() {
            return Err("it asks for nothing".into());
        }
        Ok(Script { schema: schema.to_string(), steps })
    }
}

impl Step {
    fn parse(lines: &[(usize, &str)]) -> Result<Step, String> {
        let mut lines = lines.iter().copied().peekable();
        let (line, request) = lines.next().ok_or("a paragraph without a line")?;
        let (times, request) = counted(request);
        let (method, path) = request.split_once(' ').ok_or(format!("line {line} is no request"))?;
        let (method, path) = (method.to_string(), path.to_string());
        let mut step = Step { line, times, method, path, ..Step::default() };
        while let Some(header) = lines.peek().and_then(|(_, text)| header(text)) {
            step.headers.push(header);
            lines.next();
        }
        while let Some((_, text)) = lines.next_if(|(_, text)| status(text).is_none()) {
            step.body.push_str(text);
            step.body.push('\n');
        }
        if !step.body.is_empty() && !step.headers.iter().any(|(name, _)| name == "content-type") {
            step.headers.push(("content-type".into(), "application/json".into()));
        }
        while let Some(status) = lines.peek().and_then(|(_, text)| status(text)) {
            step.statuses.push(status);
            lines.next();
        }
        if step.statuses.iter().map(|(count, _)| count).sum::<usize>() != step.times {
            return Err(format!("line {line} is asked {} times, and has other replies", step.times));
        }
        while let Some(header) = lines.peek().and_then(|(_, text)| header(text)) {
            step.expected_headers.push(header);
            lines.next();
        }
        for (_, text) in lines {
            step.expected_body.push_str(text);
            step.expected_body.push('\n');
        }
        Ok(step)
    }
}

/// `3 × what`.
fn counted(text: &str) -> (usize, &str) {
    let counted = text.split_once(" × ").and_then(|(count, rest)| Some((count.parse().ok()?, rest)));
    counted.unwrap_or((1, text))
}

/// `name: value`, where the name is one of a header.
fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(": ")?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    is_name.then(|| (name.to_string(), value.to_string()))
}

/// `409` or `409 unique`, or how often it is one.
fn status(text: &str) -> Option<(usize, String)> {
    let (count, status) = counted(text);
    let (number, code) = status.split_once(' ').unwrap_or((status, ""));
    let is_status = number.len() == 3 && number.parse::<u16>().is_ok();
    let is_code = code.bytes().all(|byte| byte.is_ascii_lowercase() || b"-_".contains(&byte));
    (is_status && is_code).then(|| (count, status.to_string()))
}

/// A path as it may be sent: what people write of filters is encoded.
pub fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>[\\]^`{|}#+".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
