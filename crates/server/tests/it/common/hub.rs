//! The schema of a hub with many leaves, whose derived values go by its name: what updates are tried on.

pub const SCHEMA: &str = r#"
type Hub in hubs {
  name:   str required
  leaves: inverse Leaf.hub
}

type Leaf in leaves {
  hub:    link Hub
  n:      int default 0
  label   := upper(self.hub.name)
  longer  := self.label + '!'
  later   := self.n * 2, background
}
"#;
