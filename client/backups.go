package client

import (
	"context"
	"net/url"

	"github.com/gco-project/gco/api"
)

// Backups lists every backup, newest first, and what else can be restored.
func (c *Client) Backups(ctx context.Context) (api.BackupList, error) {
	var list api.BackupList
	err := c.get(ctx, root+"/backups", nil, &list)
	return list, err
}

// Backup returns one backup by its ID.
func (c *Client) Backup(ctx context.Context, id string) (api.Backup, error) {
	var backup api.Backup
	err := c.get(ctx, backupPath(id), nil, &backup)
	return backup, err
}

// CreateBackup begins a backup, and returns while it is being made.
func (c *Client) CreateBackup(ctx context.Context, request api.NewBackup) (api.Backup, error) {
	var backup api.Backup
	err := c.post(ctx, root+"/backups", request, &backup)
	return backup, err
}

// VerifyBackup begins to verify a backup, and returns meanwhile.
func (c *Client) VerifyBackup(ctx context.Context, id string) (api.Backup, error) {
	var backup api.Backup
	err := c.post(ctx, backupPath(id)+"/verify", nil, &backup)
	return backup, err
}

func backupPath(id string) string { return root + "/backups/" + url.PathEscape(id) }
