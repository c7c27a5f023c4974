package api

import "time"

// Backup is a copy of the whole database.
type Backup struct {
	ID    string `json:"id"`
	Kind  string `json:"kind" enum:"daily,weekly,manual"`
	State string `json:"state" enum:"making,made,failed"`
	// Message says why it failed.
	Message string `json:"message,omitempty"`
	// CreatedAt is when it was begun. What had been written by then is in it.
	CreatedAt time.Time `json:"createdAt"`
	// ExpiresAt is when it may be removed; never if it is absent.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// Incarnation is the history of the data that it is of.
	Incarnation string `json:"incarnation,omitempty"`
	// Bytes is the size of the database, StoredBytes what it takes in the
	// vault, SHA256 the sum of the database in hex.
	Bytes       int64  `json:"bytes,omitempty"`
	StoredBytes int64  `json:"storedBytes,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	// Contents counts what is in it, by kind of record.
	Contents map[string]int64 `json:"contents,omitempty"`
	// Verification is the last one; absent if there was none.
	Verification *BackupVerification `json:"verification,omitempty"`
}

// BackupVerification is what became of restoring a backup to see whether it is
// whole.
type BackupVerification struct {
	State string `json:"state" enum:"running,whole,damaged,unknown"`
	// At is when it ended, or began while it is running.
	At time.Time `json:"at"`
	// Message says what is damaged, or why it is not known.
	Message string `json:"message,omitempty"`
}

// NewBackup asks for a backup.
type NewBackup struct {
	// Keep is a duration such as 840h, which is the default; 0s is for ever.
	Keep string `json:"keep,omitempty"`
}

// BackupWindow is a time to any moment of which the data can be restored.
type BackupWindow struct {
	Incarnation string `json:"incarnation"`
	// Any half minute since From can be restored, and any second since
	// SecondsFrom, until To.
	From        time.Time `json:"from"`
	SecondsFrom time.Time `json:"secondsFrom"`
	To          time.Time `json:"to"`
}

// BackupList has every backup, newest first.
type BackupList struct {
	// Vault is where they are kept.
	Vault string   `json:"vault"`
	Items []Backup `json:"items"`
	// Windows are in the order of their time; more than one after a restore.
	Windows []BackupWindow `json:"windows"`
	// SafeAt is the time by which everything that was written is in the vault;
	// absent where changes are not copied as they happen.
	SafeAt *time.Time `json:"safeAt,omitempty"`
	// Message says why copying changes fails now.
	Message string `json:"message,omitempty"`
}
