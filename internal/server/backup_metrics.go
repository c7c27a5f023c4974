package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gco-project/gco/internal/backup"
)

// backupMetrics reads what the keeper of backups counts at each scrape.
type backupMetrics struct{ backups Backups }

var (
	backupLastDesc   = prometheus.NewDesc("gco_backup_last_timestamp_seconds", "When the newest backup was made, by kind; 0 when there is none.", []string{"kind"}, nil)
	backupFailedDesc = prometheus.NewDesc("gco_backup_failures_total", "Backups that could not be made or verified, by kind.", []string{"kind"}, nil)
	copiedDesc       = prometheus.NewDesc("gco_backup_copied_timestamp_seconds", "The time by which everything that was written is in the vault; 0 when changes are not copied.", nil, nil)
	copyFailedDesc   = prometheus.NewDesc("gco_backup_copy_failures_total", "Copies of changes that failed and are tried again.", nil, nil)
)

// Describe lists what Collect sends.
func (m *backupMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{backupLastDesc, backupFailedDesc, copiedDesc, copyFailedDesc} {
		to <- desc
	}
}

// Collect asks the keeper.
func (m *backupMetrics) Collect(to chan<- prometheus.Metric) {
	tally, status := m.backups.Tally(), m.backups.Status()
	for _, kind := range []backup.Kind{backup.Daily, backup.Weekly, backup.Manual} {
		to <- prometheus.MustNewConstMetric(backupLastDesc, prometheus.GaugeValue, secondsOf(tally.Last[kind]), string(kind))
		to <- prometheus.MustNewConstMetric(backupFailedDesc, prometheus.CounterValue, float64(tally.Failed[kind]), string(kind))
	}
	to <- prometheus.MustNewConstMetric(copiedDesc, prometheus.GaugeValue, secondsOf(status.SafeAt))
	to <- prometheus.MustNewConstMetric(copyFailedDesc, prometheus.CounterValue, float64(status.Failures))
}

// secondsOf is a time as Prometheus has it; 0 is none.
func secondsOf(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
