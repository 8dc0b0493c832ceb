//! Algorithms in configuration files, by name: feature `serde`.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::algorithm::Algorithm;

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Algorithm;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an algorithm")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Algorithm, E> {
                name.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithm::{Algorithm, Options};

    #[test]
    fn names_and_options_read_back() {
        for algorithm in Algorithm::ALL {
            let text = serde_json::to_string(&algorithm).unwrap();
            assert_eq!(text, format!("\"{algorithm}\""));
            assert_eq!(serde_json::from_str::<Algorithm>(&text).unwrap(), algorithm);
        }
        let options: Options = serde_json::from_str(r#"{ "ring_points": 40 }"#).unwrap();
        assert_eq!(options, Options::default().with_ring_points(40));
        assert_eq!(
            serde_json::from_str::<Options>(&serde_json::to_string(&options).unwrap()).unwrap(),
            options
        );
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let refused = serde_json::from_str::<Algorithm>("\"p2\"").unwrap_err().to_string();
        assert!(refused.contains("did you mean \"p2c\"?"), "{refused}");
        assert!(serde_json::from_str::<Algorithm>("7").is_err());
        assert!(serde_json::from_str::<Options>(r#"{ "ring_point": 40 }"#).is_err());
    }
}
