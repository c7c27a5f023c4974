package server

import (
	"net/http"

	"github.com/gco-project/gco/api"
)

var backupParam = pathParam("id", "The ID of the backup.")

func (s *Server) backupRoutes() []*route {
	if s.backups == nil {
		return nil
	}
	accepted := func(text string) []answer {
		a := jsonAnswer[api.Backup](http.StatusAccepted, text)
		a.headers = location
		return []answer{a}
	}
	return []*route{
		{
			id: "listBackups", method: get, path: "/api/v1/backups", tag: "backups", summary: "List backups",
			text: "Every backup, newest first, with those that are being made or lately failed; and the times that can be restored to the second. " +
				"A restore is made while no server runs: see gco backup restore.",
			roles:    admins,
			answers:  []answer{jsonAnswer[api.BackupList](http.StatusOK, "The backups.")},
			problems: []string{api.ProblemUnavailable}, serve: (*call).listBackups,
		},
		{
			id: "createBackup", method: post, path: "/api/v1/backups", tag: "backups", summary: "Create a backup",
			text:  "Begins a copy of the whole database; the backup's state tells when it is made. One is made or verified at a time.",
			roles: admins, body: jsonBody[api.NewBackup](maxBody),
			answers:  accepted("It is being made."),
			problems: []string{api.ProblemConflict}, serve: (*call).createBackup,
		},
		{
			id: "getBackup", method: get, path: "/api/v1/backups/{id}", tag: "backups", summary: "Show a backup",
			text:  "Its manifest, and what came of the last verification.",
			roles: admins, params: []param{backupParam},
			answers:  []answer{jsonAnswer[api.Backup](http.StatusOK, "The backup.")},
			problems: []string{api.ProblemNotFound, api.ProblemUnavailable}, serve: (*call).showBackup,
		},
		{
			id: "verifyBackup", method: post, path: "/api/v1/backups/{id}/verify", tag: "backups", summary: "Verify a backup",
			text: "Begins to restore it into a directory that is thrown away, to hold it against its manifest, to check every page and to count " +
				"anew what is counted; the backup's verification tells what comes of it.",
			roles: admins, params: []param{backupParam},
			answers:  accepted("It is being verified."),
			problems: []string{api.ProblemMalformed, api.ProblemNotFound, api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).verifyBackup,
		},
	}
}
