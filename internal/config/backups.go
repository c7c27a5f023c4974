package config

import "time"

// Backups are copies of the embedded database.
type Backups struct {
	Vault       string        `json:"vault" doc:"Where copies of the embedded database are kept: s3://BUCKET/PREFIX?region=REGION, or file:///DIR on another disk. Empty: in backups below the server's directory, and only those that are asked for." pattern:"^(s3://[a-z0-9][a-z0-9.-]+[a-z0-9]([/?].*)?|file:///.*)?$" patternDescription:"a URL such as s3://BUCKET/PREFIX?region=us-east-2 or file:///mnt/backup/gco"`
	Continuous  bool          `json:"continuous" doc:"Copy every change as it happens, so that any second can be restored. Needs vault."`
	EverySecond time.Duration `json:"seconds" doc:"How long any second can be restored." minimum:"1m"`
	Keep        time.Duration `json:"keep" doc:"How long any half minute can be restored. The last of at least one day stays." minimum:"1h"`
	Daily       DailyBackup   `json:"daily" doc:"A copy of the whole each day."`
	Weekly      WeeklyBackup  `json:"weekly" doc:"A copy of the whole each week."`
}

// DailyBackup is made each day.
type DailyBackup struct {
	At   string        `json:"at" doc:"Time of day, UTC." pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"a time of day such as 03:00"`
	Keep time.Duration `json:"keep" doc:"How long it is kept. 0s: none is made." minimum:"0s"`
}

// WeeklyBackup is made on one day of the week.
type WeeklyBackup struct {
	Day  string        `json:"day" doc:"Day of the week, UTC." enum:"monday,tuesday,wednesday,thursday,friday,saturday,sunday"`
	At   string        `json:"at" doc:"Time of day, UTC." pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"a time of day such as 04:00"`
	Keep time.Duration `json:"keep" doc:"How long it is kept. 0s: none is made." minimum:"0s"`
}

// defaultBackups keep what the plan for the tables in AWS keeps.
func defaultBackups() Backups {
	return Backups{
		Continuous: true, EverySecond: 24 * time.Hour, Keep: 7 * 24 * time.Hour,
		Daily:  DailyBackup{At: "03:00", Keep: 35 * 24 * time.Hour},
		Weekly: WeeklyBackup{Day: "sunday", At: "04:00", Keep: 90 * 24 * time.Hour},
	}
}

func (b Backups) validate(path string) []Fault {
	if b.EverySecond > b.Keep {
		return []Fault{faultf(path+".seconds", "must be at most keep; they are %s and %s", b.EverySecond, b.Keep)}
	}
	return nil
}
