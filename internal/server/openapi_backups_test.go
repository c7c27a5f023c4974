package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/backup"
)

// brokenBackups is a keeper whose vault is away while the store is down, and
// that knows of more than a short scenario can make happen.
type brokenBackups struct {
	Backups
	*switches
}

var errNoVault = errors.New("the vault is away")

func (b brokenBackups) List(ctx context.Context) ([]backup.Backup, error) {
	if b.down.Load() {
		return nil, errNoVault
	}
	return b.Backups.List(ctx)
}

func (b brokenBackups) Find(ctx context.Context, id string) (backup.Backup, error) {
	if b.down.Load() {
		return backup.Backup{}, errNoVault
	}
	return b.Backups.Find(ctx, id)
}

func (b brokenBackups) Windows(context.Context) ([]backup.Window, error) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	return []backup.Window{{Incarnation: "i", From: at, SecondsFrom: at.Add(time.Hour), To: at.Add(2 * time.Hour)}}, nil
}

func (b brokenBackups) StartCreate(keep time.Duration) (backup.Activity, error) {
	if b.limited.Load() {
		return backup.Activity{}, backup.ErrBusy
	}
	return b.Backups.StartCreate(keep)
}

func (b brokenBackups) StartVerify(ctx context.Context, id string) (backup.Activity, error) {
	switch {
	case b.limited.Load():
		return backup.Activity{}, backup.ErrBusy
	case b.down.Load():
		return backup.Activity{}, errNoVault
	}
	return b.Backups.StartVerify(ctx, id)
}

// Activities has one that failed, and verifications that did while all is
// limited.
func (b brokenBackups) Activities() []backup.Activity {
	all := b.Backups.Activities()
	for i, a := range all {
		if a.Verifying && b.limited.Load() {
			all[i].Err = errors.New("disk full")
		}
	}
	at := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	return append(all, backup.Activity{
		ID: "20260301-030000-daily-abcdef", Kind: backup.Daily, BegunAt: at, EndedAt: at.Add(time.Second), Err: errors.New("disk full"),
	})
}

func (b brokenBackups) Status() backup.Status {
	return backup.Status{SafeAt: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), Failures: 1, Err: errors.New("a copy failed")}
}

func (sc *scenario) keepsBackups() {
	ctx := sc.t.Context()
	_, err := sc.admin.CreateBackup(ctx, api.NewBackup{Keep: "-1h"})
	sc.mustFail(422, err)
	made, err := sc.admin.CreateBackup(ctx, api.NewBackup{Keep: "1h"})
	sc.must(err)
	made = sc.awaitBackup(made.ID, func(b api.Backup) bool { return b.State == "made" })
	if made.Contents["jobs"] == 0 || made.SHA256 == "" || made.ExpiresAt == nil {
		sc.t.Errorf("the backup is %+v", made)
	}
	_, err = sc.admin.VerifyBackup(ctx, made.ID)
	sc.must(err)
	sc.awaitBackup(made.ID, func(b api.Backup) bool { return b.Verification != nil && b.Verification.State == "whole" })
	response, text := sc.raw(post, "/api/v1/backups/"+made.ID+"/verify", nil, "a body")
	sc.want(400, response, text)
	_, err = sc.admin.VerifyBackup(ctx, "20260301-030000-daily-000000")
	sc.mustFail(404, err)
	_, err = sc.admin.Backup(ctx, "none")
	sc.mustFail(404, err)
	list, err := sc.admin.Backups(ctx)
	sc.must(err)
	if len(list.Items) != 2 || list.Items[0].ID != made.ID || list.Items[1].State != "failed" {
		sc.t.Errorf("the backups are %+v", list.Items)
	}

	sc.limited.Store(true)
	_, err = sc.admin.CreateBackup(ctx, api.NewBackup{})
	sc.mustFail(409, err)
	_, err = sc.admin.VerifyBackup(ctx, made.ID)
	sc.mustFail(409, err)
	if b, err := sc.admin.Backup(ctx, made.ID); err != nil || b.Verification.State != "unknown" || b.Verification.Message != "disk full" {
		sc.t.Errorf("after a verification that failed: %+v (%v)", b, err)
	}
	sc.limited.Store(false)
	sc.down.Store(true)
	_, err = sc.admin.Backups(ctx)
	sc.mustFail(503, err)
	_, err = sc.admin.Backup(ctx, made.ID)
	sc.mustFail(503, err)
	_, err = sc.admin.VerifyBackup(ctx, made.ID)
	sc.mustFail(503, err)
	sc.down.Store(false)
}

// restored data await every region.
func (sc *scenario) restored() {
	ctx := sc.t.Context()
	_, err := sc.store.Reincarnate(ctx, time.Now())
	sc.must(err)
	region, err := sc.admin.Region(ctx, "eu-west-1")
	sc.must(err)
	if region.AwaitedSince == nil {
		sc.t.Errorf("after a restore the region is %+v", region)
	}
	health, err := sc.admin.Health(ctx)
	sc.must(err)
	if text := health.Checks[2].Message; !strings.Contains(text, "eu-west-1, "+testRegion) {
		sc.t.Errorf("health says %q", text)
	}
	region, err = sc.admin.WriteOff(ctx, "eu-west-1")
	sc.must(err)
	if region.AwaitedSince != nil || region.Lease != "lost" {
		sc.t.Errorf("a region that was written off is %+v", region)
	}
	sc.agent.open()
	sc.agent.sync(api.SyncRequest{
		Capacity:  &api.Snapshot{Nodes: []api.NodeShape{{Count: 4, Free: bigNode(), Total: bigNode(), Architecture: "amd64"}}},
		Inventory: &api.Inventory{Items: []api.AttemptRef{}, Last: true},
	})
}

// awaitBackup asks for a backup until it is as wanted.
func (sc *scenario) awaitBackup(id string, wanted func(api.Backup) bool) api.Backup {
	sc.t.Helper()
	timeout := time.After(time.Minute)
	for {
		b, err := sc.admin.Backup(sc.t.Context(), id)
		sc.must(err)
		if wanted(b) {
			return b
		}
		select {
		case <-timeout:
			sc.t.Fatalf("the backup is still %+v", b)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
