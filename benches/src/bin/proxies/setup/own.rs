use std::io;

use super::{Known, Place, Role};

pub(super) const PINGORA: Known = Known {
    name: "pingora",
    program: "pingora_proxy",
    roles: &[Role::Pass, Role::Cache, Role::H2c, Role::Tls],
    is_countable: false,
    arguments: pingora,
    environment: &[],
};

pub(super) const HYPER: Known = Known {
    name: "hyper",
    program: "hyper_proxy",
    roles: &[Role::Pass, Role::H2c],
    is_countable: true,
    arguments: |place| Ok(ports(place).into()),
    environment: &[],
};

fn ports(place: &Place<'_>) -> [String; 2] {
    [place.port, place.origin].map(|port| port.to_string())
}

fn pingora(place: &Place<'_>) -> io::Result<Vec<String>> {
    let mut arguments = Vec::from(ports(place));
    match place.role {
        Role::Cache => arguments.push("cache".into()),
        Role::Tls => {
            arguments.extend([place.certificate, place.key].map(|file| file.display().to_string()));
        }
        Role::Pass | Role::H2c => {}
    }
    Ok(arguments)
}
