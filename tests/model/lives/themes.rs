//! What a life is about.

use rand::{rngs::StdRng, seq::IndexedRandom};

/// Every command with its weight where no theme favours it.
pub const COMMANDS: [(&str, u32); 34] = [
    ("set_organization", 2),
    ("set_rate_card", 2),
    ("set_limit", 8),
    ("remove_limit", 7),
    ("set_pool", 5),
    ("grant", 6),
    ("set_unit", 4),
    ("set_plan", 4),
    ("set_mode", 3),
    ("set_source", 7),
    ("set_consent", 3),
    ("consent", 4),
    ("set_free_phase", 6),
    ("void_grant", 27),
    ("set_auto_reload", 4),
    ("remove_auto_reload", 11),
    ("refuse_reload", 3),
    ("set_seat_type", 3),
    ("set_member", 4),
    ("set_agent_creation", 3),
    ("register_workspace", 3),
    ("register_agent", 3),
    ("set_requests", 4),
    ("request", 7),
    ("approve", 9),
    ("decline", 8),
    ("adjust", 8),
    ("pause", 4),
    ("resume", 6),
    ("answer_reload", 2),
    ("repeat_limit", 1),
    ("set_extra_usage", 4),
    ("set_reserved", 3),
    ("remove_pool", 12),
];

/// Those that an account of before does not know.
pub const NEW: [&str; 3] = ["set_extra_usage", "set_reserved", "remove_pool"];

/// How an organization of a theme pays, and what it does.
pub struct Theme {
    /// For who reads a failure.
    pub name: &'static str,
    /// How it pays; empty for a drawn one.
    pub mode: &'static str,
    /// What is said much more often.
    pub favoured: &'static [(&'static str, u32)],
    /// How many of a hundred steps are usage.
    pub usage_percent: u32,
    /// After so many charges a reload is answered, where balances are filled up.
    pub answers_one_in: u32,
    /// 0: hours and days; 1: weeks; 2: months.
    pub pace: u8,
    /// Whether the clock is behind at times.
    pub is_behind: bool,
    /// How often it is drawn.
    weight: u32,
}

impl Theme {
    /// Whether members have seats from the beginning.
    pub fn has_seats(&self) -> bool {
        matches!(self.mode, "team" | "seat_enterprise")
    }

    /// How often a command is said.
    pub fn weight(&self, command: &str, usual: u32) -> u32 {
        let favoured = self.favoured.iter().find(|(name, _)| *name == command);
        let has_no_use = matches!(command, "set_seat_type" | "set_member") && !self.has_seats();
        favoured.map_or(if has_no_use { usual / 2 } else { usual }, |(_, weight)| *weight)
    }
}

const USUAL: Theme = Theme {
    name: "anything",
    mode: "",
    favoured: &[],
    usage_percent: 45,
    answers_one_in: 30,
    pace: 1,
    is_behind: false,
    weight: 6,
};

const THEMES: [Theme; 17] = [
    USUAL,
    Theme { name: "behind", is_behind: true, weight: 6, ..USUAL },
    Theme {
        name: "pools",
        mode: "credits",
        favoured: &[("set_pool", 30), ("grant", 30), ("void_grant", 10), ("set_source", 24), ("adjust", 12)],
        weight: 8,
        ..USUAL
    },
    Theme {
        name: "grants that begin and end",
        favoured: &[("grant", 60), ("void_grant", 10), ("set_pool", 10)],
        pace: 0,
        weight: 6,
        ..USUAL
    },
    Theme {
        name: "grants of a team that begin and end",
        mode: "team",
        favoured: &[("grant", 50), ("void_grant", 8), ("set_pool", 8), ("set_source", 15)],
        pace: 0,
        weight: 4,
        ..USUAL
    },
    Theme {
        name: "team",
        mode: "team",
        favoured: &[("set_member", 15), ("set_source", 15), ("set_seat_type", 8), ("grant", 15), ("set_limit", 15)],
        weight: 7,
        ..USUAL
    },
    Theme {
        name: "seats of an enterprise",
        mode: "seat_enterprise",
        favoured: &[("set_member", 15), ("set_source", 15), ("set_seat_type", 8), ("consent", 8), ("set_limit", 15)],
        weight: 7,
        ..USUAL
    },
    Theme {
        name: "usage of an enterprise",
        mode: "usage_enterprise",
        favoured: &[
            ("set_limit", 25),
            ("set_pool", 12),
            ("set_source", 12),
            ("consent", 8),
            ("set_consent", 3),
            ("set_mode", 13),
        ],
        weight: 7,
        ..USUAL
    },
    Theme {
        name: "limits",
        favoured: &[("set_limit", 60), ("remove_limit", 15), ("repeat_limit", 12), ("set_pool", 1), ("grant", 1)],
        pace: 0,
        weight: 7,
        ..USUAL
    },
    Theme {
        name: "free phase",
        favoured: &[("set_free_phase", 8), ("register_agent", 10), ("set_pool", 10), ("grant", 18)],
        pace: 2,
        weight: 5,
        ..USUAL
    },
    Theme {
        name: "reloads",
        answers_one_in: 2,
        mode: "credits",
        favoured: &[
            ("set_auto_reload", 6),
            ("answer_reload", 12),
            ("refuse_reload", 20),
            ("remove_auto_reload", 3),
            ("remove_pool", 1),
            ("set_organization", 0),
            ("grant", 3),
            ("void_grant", 12),
        ],
        pace: 0,
        usage_percent: 50,
        weight: 16,
        ..USUAL
    },
    Theme {
        name: "requests",
        mode: "seat_enterprise",
        favoured: &[("request", 40), ("approve", 30), ("decline", 10), ("set_requests", 5), ("set_limit", 15)],
        usage_percent: 35,
        weight: 6,
        ..USUAL
    },
    Theme {
        name: "refunds",
        mode: "credits",
        favoured: &[("adjust", 80), ("set_pool", 12), ("grant", 15)],
        weight: 13,
        ..USUAL
    },
    Theme {
        name: "zones and anchors",
        favoured: &[("set_organization", 25), ("set_seat_type", 6)],
        pace: 2,
        weight: 4,
        ..USUAL
    },
    Theme { name: "periods", pace: 2, usage_percent: 55, weight: 4, ..USUAL },
    Theme {
        name: "people and plans",
        favoured: &[
            ("register_agent", 40),
            ("set_agent_creation", 12),
            ("register_workspace", 10),
            ("set_member", 15),
            ("set_plan", 8),
            ("pause", 10),
            ("resume", 10),
        ],
        usage_percent: 30,
        weight: 4,
        ..USUAL
    },
    Theme {
        name: "changes of who pays",
        favoured: &[("set_mode", 25), ("set_source", 30), ("set_consent", 8), ("consent", 12)],
        weight: 9,
        ..USUAL
    },
];

/// The command that a way of saying one says.
pub fn as_said(command: &'static str) -> &'static str {
    match command {
        "answer_reload" => "grant",
        "repeat_limit" => "set_limit",
        _ => command,
    }
}

/// Draws a theme.
pub fn draw(random: &mut StdRng) -> &'static Theme {
    THEMES.choose_weighted(random, |theme| theme.weight).expect("themes have weights")
}
