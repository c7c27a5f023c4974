package backup

import "github.com/gco-project/gco/api"

// OnWire is the backup as the API shows it.
func (b Backup) OnWire() api.Backup {
	wire := api.Backup{
		ID: b.ID, Kind: string(b.Kind), State: "made", CreatedAt: b.CreatedAt, Incarnation: b.Incarnation,
		Bytes: b.Bytes, StoredBytes: b.StoredBytes, SHA256: b.SHA256, Contents: b.Contents(),
	}
	if !b.ExpiresAt.IsZero() {
		wire.ExpiresAt = &b.ExpiresAt
	}
	if v := b.Verification; v != nil {
		wire.Verification = &api.BackupVerification{State: "whole", At: v.At, Message: v.Fault}
		if v.Fault != "" {
			wire.Verification.State = "damaged"
		}
	}
	return wire
}
