"""Builds a small package with cargo from several clones that share one target directory."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "sources"
FILES = {
    "Cargo.toml": """[package]
name = "tells"
version = "0.1.0"
edition = "2021"
[features]
rare = []
[workspace]
""",
    "build.rs": """fn main() {
    println!("cargo:rerun-if-changed=words");
    let words: Vec<_> = std::fs::read_dir("words").unwrap().map(|word| word.unwrap().path()).collect();
    let text: Vec<_> = words.iter().map(|word| std::fs::read_to_string(word).unwrap()).collect();
    std::fs::write(format!("{}/text", std::env::var("OUT_DIR").unwrap()), text.concat()).unwrap();
}
""",
    "src/main.rs": """fn main() {
    print!("{}", include_str!(concat!(env!("OUT_DIR"), "/text")));
}
""",
}


class Sources(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.clones = 0

    def clone(self, words):
        """Makes a clone that holds these words, with the tool beside it, and restores the times of its files."""
        self.clones += 1
        top = self.folder / f"clone-{self.clones}"
        files = FILES | {f"words/{name}": text for name, text in words.items()} | {"deploy/deps/sources": SOURCES.read_text()}
        for path, text in files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(text)
        subprocess.run(["git", "init", "--quiet"], cwd=top, check=True)
        subprocess.run(["git", "add", "--all"], cwd=top, check=True)
        return top, self.call(top, "python3", "deploy/deps/sources", "restore").stdout

    def call(self, top, *command):
        environment = os.environ | {"CARGO_TARGET_DIR": str(self.folder / "target"), "CARGO_TERM_COLOR": "never"}
        return subprocess.run(command, cwd=top, env=environment, check=True, capture_output=True, text=True)

    def build(self, top, *options):
        """Returns what the built program prints, and whether cargo compiled anything for it."""
        compiled = "Compiling" in self.call(top, "cargo", "build", "--release", "--offline", *options).stderr
        return self.call(top, str(self.folder / "target/release/tells")).stdout, compiled

    def record(self, top):
        self.call(top, "python3", "deploy/deps/sources", "record")

    def test_a_clone_of_the_same_sources_compiles_nothing(self):
        first, _ = self.clone({"a": "one"})
        self.assertEqual(self.build(first), ("one", True))
        self.record(first)
        second, message = self.clone({"a": "one"})
        self.assertIn("are unchanged", message)
        self.assertEqual(self.build(second), ("one", False))

    def test_a_unit_that_the_last_run_did_not_need_is_compiled_from_the_present_sources(self):
        first, _ = self.clone({"a": "one"})
        self.build(first, "--features", "rare")
        self.record(first)
        second, _ = self.clone({"a": "two"})
        self.build(second)
        self.record(second)
        third, _ = self.clone({"a": "two"})
        self.assertEqual(self.build(third), ("two", False))
        self.assertEqual(self.build(third, "--features", "rare"), ("two", True))

    def test_a_file_that_was_removed_from_a_folder_is_noticed(self):
        first, _ = self.clone({"a": "one", "b": "one"})
        self.build(first)
        self.record(first)
        second, _ = self.clone({"a": "one"})
        self.assertEqual(self.build(second), ("one", True))

    def test_a_build_after_the_record_makes_it_void(self):
        first, _ = self.clone({"a": "one"})
        self.build(first)
        self.record(first)
        other, _ = self.clone({"a": "two"})
        self.build(other)
        last, message = self.clone({"a": "one"})
        self.assertIn("everything will be rebuilt", message)
        self.assertEqual(self.build(last), ("one", True))


if __name__ == "__main__":
    unittest.main()
