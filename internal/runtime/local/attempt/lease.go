package attempt

import (
	"encoding/json"
	"fmt"
	"time"
)

// Lease is a region's right to run fenced attempts.
type Lease struct {
	// Boot is the boot of the host that Deadline belongs to.
	Boot string `json:"boot"`
	// Deadline is a time of process.Now.
	Deadline time.Duration `json:"deadline"`
	// Fences counts the calls of Fence. Attempts that were applied before the
	// last one have lost their right for ever.
	Fences int64 `json:"fences"`
}

// Allows tells whether an attempt may run now: one that was applied after
// that many fences, at that time of process.Now, in that boot.
func (l Lease) Allows(fences int64, boot string, now time.Duration) bool {
	return l.Boot == boot && l.Fences == fences && now < l.Deadline
}

// LoadLease reads the lease of a region.
func LoadLease(region Region) (Lease, error) {
	var lease Lease
	err := decode(region.Lease(), &lease)
	return lease, err
}

// Save replaces the lease of a region. It need not survive a power failure:
// a lease of another boot is worth nothing.
func (l Lease) Save(region Region) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := replace(region.Lease(), region.Lease()+".new", text, false); err != nil {
		return fmt.Errorf("writing the lease: %w", err)
	}
	return nil
}
