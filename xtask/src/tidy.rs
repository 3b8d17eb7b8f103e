//! House rules that grep can check. What the compiler checks is not repeated here.

use crate::sources::rust_files;
use crate::words::overused_types;
use anyhow::{Context as _, bail};
use std::{fs, path::Path};

/// Rule: texts that must not stand in some files, and the reason.
struct HouseRule {
    /// Prefix of the paths of files to which the rule applies; `""` for every file.
    within: &'static str,
    /// Prefixes of the paths of files that are left out.
    except: &'static [&'static str],
    /// Texts that must not stand in a line.
    forbidden: &'static [&'static str],
    reason: &'static str,
}

const RULES: [HouseRule; 8] = [
    HouseRule {
        within: "chatd/core/src/",
        except: &[],
        forbidden: &[
            "SystemTime",
            "Instant::now",
            "rand::",
            "async fn",
            "tokio::",
            "std::fs",
            "std::net",
            "HashMap",
            "HashSet",
        ],
        reason: "core must be pure: clocks, randomness, async, I/O and map order make replicas diverge",
    },
    HouseRule {
        within: "operator/src/",
        except: &[
            "operator/src/observe.rs",
            "operator/src/observe/",
            "operator/src/apply.rs",
            "operator/src/apply/",
            "operator/src/status/patch.rs",
            // The process around the reconciler: it makes the client, holds the lease and starts the controllers.
            "operator/src/process.rs",
            "operator/src/controller.rs",
            "operator/src/lease.rs",
            "operator/src/events.rs",
        ],
        forbidden: &["kube::Client", "Api<", "Api::"],
        reason: "only observe, apply and status::patch may use a Kubernetes client",
    },
    HouseRule {
        within: "",
        except: &["chatd/src/api/convert", "xtask/src/tidy.rs"],
        forbidden: &["unbounded_channel", "mpsc::unbounded", "UnboundedSender"],
        reason: "no unbounded queues: they grow until the process is killed",
    },
    HouseRule {
        within: "",
        except: &["xtask/src/tidy.rs"],
        forbidden: &["TODO", "FIXME", "XXX:", "#[ignore"],
        reason: "finish it, or open an issue",
    },
    HouseRule {
        within: "chatd/src/",
        except: &["chatd/src/store/columns.rs"],
        forbidden: &["ColumnFamilyDescriptor::new(\""],
        reason: "only store::columns may name column families",
    },
    HouseRule {
        within: "",
        except: &["xtask/src/tidy.rs"],
        forbidden: &["fn test_"],
        reason: "the name of a test must be a sentence",
    },
    HouseRule {
        within: "chatctl/src/",
        except: &[],
        forbidden: &["rocksdb::", "openraft::", "quorate_chatd"],
        reason: "chatctl must not depend on storage or replication",
    },
    HouseRule {
        within: "chatd/src/",
        except: &["chatd/src/raft/"],
        forbidden: &["use openraft", "openraft::"],
        reason: "openraft's API may change: its types must stay inside chatd/src/raft",
    },
];

/// The modules of `chatd`, each of which may use those after it and none before it.
const LAYERS: [&str; 7] = ["api", "service", "ephemeral", "metrics", "raft", "feed", "trace"];

/// Returns the modules that the code of a file of `chatd` may not use.
fn layers_above(name: &str) -> &'static [&'static str] {
    let module = name.strip_prefix("chatd/src/").and_then(|path| path.split(['/', '.']).next());
    let own = LAYERS.iter().position(|layer| Some(*layer) == module);
    own.and_then(|own| LAYERS.get(..own)).unwrap_or_default()
}

/// Returns the code of a file without its unit tests, which may use anything.
fn without_tests<'t>(name: &str, text: &'t str) -> &'t str {
    if name.contains("/tests") {
        return "";
    }
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
}

/// Maximum number of lines in a file.
const MAX_LINES: usize = 600;

/// Checks every Rust file of the workspace.
///
/// # Errors
/// Names each place and its rule.
pub fn check_workspace(root: &Path) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for path in rust_files(root)? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        findings.extend(check_file(&name, &text));
    }
    findings.extend(overused_types(root)?);
    if !findings.is_empty() {
        bail!("{}\n{} findings", findings.join("\n"), findings.len());
    }
    Ok(())
}

/// Returns the findings in one file.
#[must_use]
pub fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if text.lines().count() > MAX_LINES {
        findings.push(format!("{name}: more than {MAX_LINES} lines: split it by subject"));
    }
    for (number, line) in without_tests(name, text).lines().enumerate() {
        let uses = |layer: &&&str| line.contains(&format!("crate::{layer}::")) && !line.trim_start().starts_with("//");
        if let Some(layer) = layers_above(name).iter().find(uses) {
            let order = LAYERS.join(" → ");
            findings.push(format!(
                "{name}:{}: crate::{layer}: modules may depend on each other only in the order {order}",
                number + 1
            ));
        }
    }
    let rules = RULES
        .iter()
        .filter(|rule| name.starts_with(rule.within) && !rule.except.iter().any(|except| name.starts_with(except)));
    for rule in rules {
        for (number, line) in text.lines().enumerate() {
            // A comment may mention what the code must not do.
            let code = if line.trim_start().starts_with("//") { "" } else { line };
            let place = if rule.forbidden.contains(&"TODO") { line } else { code };
            if let Some(word) = rule.forbidden.iter().find(|word| place.contains(**word)) {
                findings.push(format!("{name}:{}: {word:?}: {}", number + 1, rule.reason));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_core_is_found_with_its_line() {
        let findings = check_file("chatd/core/src/apply.rs", "fn f() {}\nlet now = SystemTime::now();\n");
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("chatd/core/src/apply.rs:2:"), "{findings:?}");
    }

    #[test]
    fn a_comment_may_speak_of_it_and_another_folder_may_do_it() {
        assert!(check_file("chatd/core/src/apply.rs", "// no SystemTime here\n").is_empty());
        assert!(check_file("chatd/src/main.rs", "SystemTime::now()\n").is_empty());
    }

    #[test]
    fn unfinished_business_is_found_in_comments_too() {
        assert_eq!(check_file("chatctl/src/lib.rs", concat!("// TO", "DO later\n")).len(), 1);
    }

    #[test]
    fn modules_use_each_other_in_one_direction() {
        assert_eq!(check_file("chatd/src/feed/tail.rs", "use crate::service::Session;\n").len(), 1);
        assert_eq!(check_file("chatd/src/trace.rs", "use crate::metrics::{CallMeter, ClientApi};\n").len(), 1);
        assert!(check_file("chatd/src/service/read.rs", "use crate::feed::Feed;\n").is_empty());
        assert!(
            check_file("chatd/src/feed.rs", "//! See [`crate::service::Service`].\nuse crate::trace::Live;\n")
                .is_empty()
        );
        assert!(
            check_file("chatd/src/feed.rs", "#[cfg(test)]\nmod tests {\n    use crate::service::Session;\n}\n")
                .is_empty()
        );
        assert!(check_file("chatd/src/feed/tests.rs", "use crate::service::Session;\n").is_empty());
    }

    #[test]
    fn clients_stay_where_they_belong() {
        assert_eq!(check_file("operator/src/plan.rs", "fn f(c: kube::Client) {}\n").len(), 1);
        assert!(check_file("operator/src/apply.rs", "fn f(c: kube::Client) {}\n").is_empty());
    }
}
