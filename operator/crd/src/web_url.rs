/// Returns the CEL rule for an address that people and Matrix clients open: `http` or `https`, a host name or an
/// address in brackets, an optional port, and an optional path or query. `chatd/src/config/values.rs` accepts no less.
pub(crate) fn web_url_rule() -> &'static str {
    r"self.matches('^https?://([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*|\\x5b[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F.]*\\x5d)(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?([/?][-A-Za-z0-9._~:/?#@!$&()*+,;=%]*)?$')"
}
