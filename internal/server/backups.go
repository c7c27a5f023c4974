package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/backup"
	"github.com/gco-project/gco/internal/job"
)

// Backups is what the server needs of a *backup.Keeper.
type Backups interface {
	// String is how people know the vault.
	String() string
	List(ctx context.Context) ([]backup.Backup, error)
	Find(ctx context.Context, id string) (backup.Backup, error)
	Windows(ctx context.Context) ([]backup.Window, error)
	StartCreate(keep time.Duration) (backup.Activity, error)
	StartVerify(ctx context.Context, id string) (backup.Activity, error)
	Activities() []backup.Activity
	Tally() backup.Tally
	Status() backup.Status
}

var _ Backups = (*backup.Keeper)(nil)

// defaultKeep is how long a backup is kept that was asked for.
const defaultKeep = 35 * 24 * time.Hour

var newBackupShape = shapeOf[api.NewBackup]()

// vaultProblem answers what the vault says.
func vaultProblem(err error) error {
	switch {
	case errors.Is(err, backup.ErrNotFound):
		return newProblem(api.ProblemNotFound, "there is no such backup")
	case errors.Is(err, backup.ErrBusy):
		return newProblem(api.ProblemConflict, "a backup is being made or verified; try again when that is done")
	}
	p := newProblem(api.ProblemUnavailable, "the vault cannot be read now; the server's log has the reason").with("Retry-After", "5")
	p.cause = err
	return p
}

func (c *call) listBackups() error {
	all, err := c.backups.List(c.r.Context())
	if err != nil {
		return vaultProblem(err)
	}
	windows, err := c.backups.Windows(c.r.Context())
	if err != nil {
		return vaultProblem(err)
	}
	list := api.BackupList{Vault: c.backups.String(), Items: []api.Backup{}, Windows: []api.BackupWindow{}}
	for _, b := range all {
		list.Items = append(list.Items, b.OnWire())
	}
	for _, a := range c.backups.Activities() {
		list.Items = withActivity(list.Items, a)
	}
	slices.SortStableFunc(list.Items, func(a, b api.Backup) int { return b.CreatedAt.Compare(a.CreatedAt) })
	for _, w := range windows {
		list.Windows = append(list.Windows, api.BackupWindow(w))
	}
	status := c.backups.Status()
	if !status.SafeAt.IsZero() {
		list.SafeAt = &status.SafeAt
	}
	if status.Err != nil {
		list.Message = status.Err.Error()
	}
	return c.json(http.StatusOK, list)
}

func (c *call) showBackup() error {
	b, err := c.backup(c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, b)
}

// backup finds a backup that is made, or being made, or failed.
func (c *call) backup(id string) (api.Backup, error) {
	var found []api.Backup
	b, err := c.backups.Find(c.r.Context(), id)
	switch {
	case err == nil:
		found = append(found, b.OnWire())
	case !errors.Is(err, backup.ErrNotFound):
		return api.Backup{}, vaultProblem(err)
	}
	for _, a := range c.backups.Activities() {
		if a.ID == id {
			found = withActivity(found, a)
		}
	}
	if len(found) == 0 {
		return api.Backup{}, vaultProblem(err)
	}
	return found[0], nil
}

func (c *call) createBackup() error {
	var request api.NewBackup
	if err := c.readJSON(newBackupShape, &request); err != nil {
		return err
	}
	keep := defaultKeep
	if request.Keep != "" {
		var err error
		if keep, err = time.ParseDuration(request.Keep); err != nil || keep < 0 {
			return invalid([]job.Fault{{Field: "keep", Message: "should be a duration such as 840h, or 0s for ever"}})
		}
	}
	activity, err := c.backups.StartCreate(keep)
	if err != nil {
		return vaultProblem(err)
	}
	c.log.Info("backup begun", "backup", activity.ID, "by", c.who.name)
	return c.acceptBackup(withActivity(nil, activity)[0])
}

func (c *call) verifyBackup() error {
	if err := c.noBody(); err != nil {
		return err
	}
	activity, err := c.backups.StartVerify(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return vaultProblem(err)
	}
	b, err := c.backup(activity.ID)
	if err != nil {
		return err
	}
	return c.acceptBackup(b)
}

func (c *call) acceptBackup(b api.Backup) error {
	c.w.Header().Set("Location", "/api/v1/backups/"+b.ID)
	return c.json(http.StatusAccepted, b)
}

// withActivity adds what goes on, and what was tried in vain, to a list of
// what is in the vault.
func withActivity(list []api.Backup, a backup.Activity) []api.Backup {
	i := slices.IndexFunc(list, func(b api.Backup) bool { return b.ID == a.ID })
	switch {
	case a.Verifying && i >= 0 && a.EndedAt.IsZero():
		list[i].Verification = &api.BackupVerification{State: "running", At: a.BegunAt}
	case a.Verifying && i >= 0 && a.Err != nil && !errors.Is(a.Err, backup.ErrDamaged):
		list[i].Verification = &api.BackupVerification{State: "unknown", At: a.EndedAt, Message: a.Err.Error()}
	case !a.Verifying && i >= 0 && a.EndedAt.IsZero():
		list[i].State = "making"
	case !a.Verifying && i < 0 && (a.EndedAt.IsZero() || a.Err != nil):
		b := api.Backup{ID: a.ID, Kind: string(a.Kind), State: "making", CreatedAt: a.BegunAt}
		if a.Err != nil {
			b.State, b.Message = "failed", a.Err.Error()
		}
		list = append(list, b)
	}
	return list
}
