package config

import (
	"slices"
	"testing"
)

func TestBackups(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"backups: {vault: 's3://copies/gco?region=us-east-2'}", nil},
		{"backups: {vault: 'file:///mnt/backup', daily: {keep: 0s}}", nil},
		{"backups: {continuous: false, weekly: {day: friday, at: '23:59'}}", nil},
		{"backups: {vault: /mnt/backup}", []string{
			`backups.vault: a URL such as s3://BUCKET/PREFIX?region=us-east-2 or file:///mnt/backup/gco expected, found "/mnt/backup"`,
		}},
		{"backups: {seconds: 200h}", []string{"backups.seconds: must be at most keep; they are 200h0m0s and 168h0m0s"}},
		{"backups: {daily: {at: '24:00', keep: -1h}}", []string{
			`backups.daily.at: a time of day such as 03:00 expected, found "24:00"`,
			"backups.daily.keep: must be at least 0s, is -1h0m0s",
		}},
	} {
		_, err := Parse("gco.yaml", []byte(test.text))
		if got := messages(t, err); !slices.Equal(got, test.want) {
			t.Errorf("%s:\n  %q\nwant\n  %q", test.text, got, test.want)
		}
	}
}
