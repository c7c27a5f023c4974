// Package backup keeps copies of the embedded database somewhere else, and
// brings them back. A [Vault] is a bucket or a directory with two kinds of
// them: a history of every change, from which any second can be restored
// ([Replication] writes it), and backups of the whole database, made on a
// schedule or on demand and kept for as long as their kind is. [Keeper] makes
// and removes the latter, [Restore] turns either into a new directory.
//
// It owns what is in the vault. It does not own the database (store/sqlite
// does) nor its bytes on the way (blob does): archived logs are no part of a
// backup. daemon runs a Keeper and a Replication beside the control plane;
// the command line calls Restore while no server runs.
package backup

import (
	"errors"
	"time"

	"github.com/gco-project/gco/internal/store/sqlite"
)

// The errors that callers decide on.
var (
	// ErrNotFound: there is no such backup, or nothing from that time.
	ErrNotFound = errors.New("no such backup")
	// ErrBusy: one is being made or verified, and that takes all there is.
	ErrBusy = errors.New("another backup is under way")
	// ErrDamaged: the copy is not what was written.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrOccupied: the directory to restore into holds something.
	ErrOccupied = errors.New("the directory is not empty")
)

// Kind says why a backup was made, and so for how long it is kept.
type Kind string

// The kinds of backup.
const (
	Daily  Kind = "daily"
	Weekly Kind = "weekly"
	Manual Kind = "manual"
)

// Backup is a copy of the whole database, as its manifest describes it.
type Backup struct {
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Incarnation is the history that it is of.
	Incarnation string `json:"incarnation"`
	// CreatedAt is when the copy was begun: it holds what had been written by
	// then, and maybe a little more.
	CreatedAt time.Time `json:"createdAt"`
	// ExpiresAt is when it may be removed; zero is never.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Bytes and SHA256 are those of the database file, StoredBytes and
	// StoredSHA256 those of what is in the vault.
	Bytes        int64         `json:"bytes"`
	SHA256       string        `json:"sha256"`
	StoredBytes  int64         `json:"storedBytes"`
	StoredSHA256 string        `json:"storedSha256"`
	Census       sqlite.Census `json:"census"`

	// Verification is the last one; nil is none yet. It is kept apart from the
	// manifest, which never changes.
	Verification *Verification `json:"-"`
}

// Contents counts what is in it, by kind of record; nil where nobody has
// counted.
func (b Backup) Contents() map[string]int64 {
	c := b.Census
	if c == (sqlite.Census{}) {
		return nil
	}
	return map[string]int64{"jobs": c.Jobs, "events": c.Events, "keys": c.Keys, "regions": c.Regions, "tokens": c.Tokens}
}

// Verification is what became of an attempt to restore a backup.
type Verification struct {
	At time.Time `json:"at"`
	// Fault is empty when the backup is whole.
	Fault string `json:"fault,omitempty"`
}
