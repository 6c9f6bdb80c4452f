//! `-o template=TEXT`: each object that is printed, as a text with holes.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, escape_formatter};
use serde_json::Value;

use super::output::Format;

/// The form of what is printed, as `-o` names it.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// How data is written.
    pub format: Format,
    /// What each object then becomes.
    pub template: Option<Template>,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let format = match text {
            "text" => Format::Text,
            "json" => Format::Json,
            "ndjson" => Format::Ndjson,
            "cloudevents" => Format::Cloudevents,
            _ => {
                let unknown = "it is text, json, ndjson, cloudevents or template=TEXT";
                let template = text.strip_prefix("template=").ok_or(unknown)?;
                let template = Some(Template::parse(template)?);
                return Ok(Self { format: Format::Ndjson, template });
            }
        };
        Ok(Self { format, template: None })
    }
}

/// A text with holes that fields of an object fill, in the language of Jinja.
#[derive(Clone)]
pub struct Template(Arc<Environment<'static>>);

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        // What is missing is empty, and so is what would be in it.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        // What goes to a terminal or a pipe is no HTML.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        // What is no text is written as JSON, as it came, and not as Python would write it.
        environment.set_formatter(|out, state, value| match value.kind() {
            ValueKind::Undefined | ValueKind::String => escape_formatter(out, state, value),
            _ => Ok(out.write_str(&poured(value)?.to_string())?),
        });
        // Command lines are parsed once, so this lives as long as the process in any case.
        let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
        environment.add_template("line", text).map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(environment)))
    }

    fn render(&self, object: &[u8]) -> io::Result<String> {
        let object: Value = serde_json::from_slice(object)?;
        let template = self.0.get_template("line").map_err(io::Error::other)?;
        template.render(filling(&object)).map_err(io::Error::other)
    }
}

/// What is wrong with a template that an object can't fill, if that is why nothing was written.
pub fn unfilled(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<Error>().map(ToString::to_string)
}

/// A value as templates know it.
fn filling(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => ().into(),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::Array(values) => values.iter().map(filling).collect(),
        Value::Object(members) => minijinja::Value::from_pairs(
            members.iter().map(|(name, value)| (name.as_str(), filling(value))),
        ),
    }
}

/// A value of a template as JSON.
fn poured(value: &minijinja::Value) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number => match (value.as_i64(), u64::try_from(value.clone())) {
            (Some(number), _) => number.into(),
            (None, Ok(number)) => number.into(),
            (None, Err(_)) => f64::try_from(value.clone())?.into(),
        },
        ValueKind::Seq | ValueKind::Iterable => {
            let values = value.try_iter()?.map(|value| poured(&value));
            values.collect::<Result<_, Error>>()?
        }
        ValueKind::Map => {
            let members = value.try_iter()?;
            let members = members.map(|name| {
                let member = poured(&value.get_item(&name)?)?;
                Ok((name.to_string(), member))
            });
            Value::Object(members.collect::<Result<_, Error>>()?)
        }
        _ => value.to_string().into(),
    })
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

/// Writes each line of JSON that it is given as what the template makes of it.
pub struct Templated<W> {
    out: W,
    template: Template,
    /// A line that is not whole yet: one entry at most.
    line: Vec<u8>,
}

impl<W: Write> Templated<W> {
    /// Writes to `out`.
    pub fn new(out: W, template: Template) -> Self {
        Self { out, template, line: Vec::new() }
    }
}

impl<W: Write> Write for Templated<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Up to the end of a line: what is written before an error must not be given again.
        let piece = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        self.line.extend_from_slice(piece);
        if piece.ends_with(b"\n") {
            let text = self.template.render(&std::mem::take(&mut self.line))?;
            writeln!(self.out, "{text}")?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &str, pieces: &[&str]) -> String {
        let template = Template::parse(template).unwrap();
        let mut written = Vec::new();
        let mut writer = Templated::new(&mut written, template);
        pieces.iter().for_each(|piece| writer.write_all(piece.as_bytes()).unwrap());
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn each_object_fills_the_holes_however_it_is_written() {
        let pieces = ["{\"a\":{\"b\":\"<1>\"}}\n{\"a\"", ":2}\n"];
        assert_eq!(written("[{{ a.b }}{% if a == 2 %}two{% endif %}]", &pieces), "[<1>]\n[two]\n");
    }

    #[test]
    fn what_is_no_text_is_json() {
        let data = r#"{"a":null,"b":true,"c":[1,-2,1.5,18446744073709551615,"\u0027x\""]}"#;
        let line = format!("{{\"d\":{data}}}\n");
        let json = r#"{"a":null,"b":true,"c":[1,-2,1.5,18446744073709551615,"'x\""]}"#;
        assert_eq!(
            written("{{ d }} {{ d.c[3] }} {{ d.b }} {{ d.a }}{{ e }}", &[&line]),
            format!("{json} 18446744073709551615 true null\n")
        );
    }

    #[test]
    fn what_is_missing_is_empty_with_all_that_would_be_in_it() {
        let lines = "{\"a\":1}\n{\"a\":null}\n{}\n{\"a\":{\"b\":2}}\n";
        assert_eq!(written("[{{ a.b }}{{ a.b.c }}]", &[lines]), "[]\n[]\n[]\n[2]\n");
    }

    #[test]
    fn an_object_that_fills_no_template_ends_the_output_after_what_came_before() {
        let template = Template::parse("{{ 6 // a }}").unwrap();
        let mut written = Vec::new();
        let mut writer = io::BufWriter::new(Templated::new(&mut written, template));
        writer.write_all(b"{\"a\":2}\n{\"a\":3}\n{\"a\":\"x\"}\n{\"a\":1}\n").unwrap();
        assert!(unfilled(&writer.flush().unwrap_err()).is_some());
        drop(writer);
        assert_eq!(written, b"3\n2\n");
    }

    #[test]
    fn a_template_that_is_none_is_refused_at_once() {
        for text in ["yaml", "template={{ a", "template={% what %}"] {
            assert!(text.parse::<Form>().is_err(), "{text}");
        }
    }
}
