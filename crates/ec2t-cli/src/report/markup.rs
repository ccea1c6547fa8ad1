//! HTML and SVG as a tree of elements.
//!
//! Tags are balanced by construction, and all text, in elements and in
//! attributes, is escaped when it is written: there is no other way for it to
//! get into a page. What is written is XML as well as HTML.

use std::fmt::{self, Display, Formatter};

/// An element with its attributes and what it holds.
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Vec<Node>,
}

enum Node {
    Element(Element),
    Text(String),
}

/// An empty element.
pub(super) fn element(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), content: Vec::new() }
}

impl Element {
    /// Adds an attribute.
    pub(super) fn attr(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// Adds the attribute `class`.
    pub(super) fn class(self, value: impl Display) -> Self {
        self.attr("class", value)
    }

    /// Adds text.
    pub(super) fn text(mut self, text: impl Display) -> Self {
        self.content.push(Node::Text(text.to_string()));
        self
    }

    /// Adds an element.
    pub(super) fn child(mut self, child: Element) -> Self {
        self.content.push(Node::Element(child));
        self
    }

    /// Adds elements.
    pub(super) fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.content.extend(children.into_iter().map(Node::Element));
        self
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"{}\"", Escaped(value))?;
        }
        if matches!(self.name, "meta" | "img") {
            return f.write_str("/>");
        }
        f.write_str(">")?;
        for node in &self.content {
            match node {
                Node::Element(element) => element.fmt(f)?,
                Node::Text(text) => Escaped(text).fmt(f)?,
            }
        }
        write!(f, "</{}>", self.name)
    }
}

/// Text whose every character stands for itself.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                _ => "&quot;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_everywhere() {
        let link = element("a").attr("title", "\"<&>\"").text("é <script> & so on");
        let paragraph = element("p").text("1").child(link).children([element("i")]).text("2");
        assert_eq!(
            paragraph.to_string(),
            "<p>1<a title=\"&quot;&lt;&amp;&gt;&quot;\">é &lt;script&gt; &amp; so on</a><i></i>2</p>"
        );
    }
}
