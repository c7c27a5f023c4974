// Package structure holds the tests of the code's own structure, and nothing
// else: that packages import only what the table in ARCHITECTURE.md allows,
// are called and commented as CONTRIBUTING.md says, and that documents name
// symbols and files that exist. Nothing imports it.
package structure
