package infra

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
)

// Finding is one rule of cdk-nag applied to one resource.
type Finding struct {
	Pack     string // for example AwsSolutions
	Stack    string
	Resource string // construct path
	Rule     string // rule id, with the finding in brackets where a rule has several
	Reason   string // of the suppression, where there is one
	Info     string // what the rule asks for
}

// String gives the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s on %s: %s", f.Rule, f.Resource, f.Info)
}

// NagReport is what all packs said about all stacks.
type NagReport struct {
	// Open are findings that nothing suppresses, and rules that broke.
	Open []Finding
	// Suppressed are findings that a suppression accepts.
	Suppressed []Finding
	// Checked is the number of applications of a rule to a resource.
	Checked int
}

// packs are the rule packs, by the name that starts their report files.
var packs = []string{"AwsSolutions", "HIPAA.Security", "NIST.800.53.R5", "PCI.DSS.321", "Serverless"}

// addNag applies the packs to everything in app. They write their reports beside
// the templates.
func addNag(app awscdk.App) {
	props := &cdknag.NagPackProps{
		Verbose:       jsii.Bool(true),
		Reports:       jsii.Bool(true),
		ReportFormats: &[]cdknag.NagReportFormat{cdknag.NagReportFormat_JSON},
	}
	for _, pack := range []awscdk.IAspect{
		cdknag.NewAwsSolutionsChecks(props),
		cdknag.NewHIPAASecurityChecks(props),
		cdknag.NewNIST80053R5Checks(props),
		cdknag.NewPCIDSS321Checks(props),
		cdknag.NewServerlessChecks(props),
	} {
		awscdk.Aspects_Of(app).Add(pack, nil)
	}
}

// readNag reads the reports of all packs on the given stacks. A report that is
// not there is an error: a pack that did not run must not look like one that
// found nothing.
func readNag(dir string, stacks []string) (NagReport, error) {
	var report NagReport
	for _, stack := range stacks {
		for _, pack := range packs {
			// CDK puts the path of the app between the two, which is empty.
			text, err := os.ReadFile(filepath.Join(dir, pack+"--"+stack+"-NagReport.json"))
			if err != nil {
				return NagReport{}, fmt.Errorf("reading the report of cdk-nag: %w", err)
			}
			if report, err = report.add(pack, stack, text); err != nil {
				return NagReport{}, fmt.Errorf("reading the report of %s on %s: %w", pack, stack, err)
			}
		}
	}
	for _, findings := range [][]Finding{report.Open, report.Suppressed} {
		slices.SortFunc(findings, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Rule, b.Rule))
		})
	}
	return report, nil
}

// add returns the report with the lines of one pack on one stack.
func (r NagReport) add(pack, stack string, text []byte) (NagReport, error) {
	var file struct {
		Lines []struct {
			RuleID          string `json:"ruleId"`
			ResourceID      string `json:"resourceId"`
			Compliance      string `json:"compliance"`
			ExceptionReason string `json:"exceptionReason"`
			RuleInfo        string `json:"ruleInfo"`
		} `json:"lines"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return r, err
	}
	for _, line := range file.Lines {
		r.Checked++
		finding := Finding{
			Pack: pack, Stack: stack, Resource: line.ResourceID, Rule: line.RuleID,
			Reason: line.ExceptionReason, Info: line.RuleInfo,
		}
		// A rule with several findings names the one in front of the reason.
		if single, reason, ok := strings.Cut(line.ExceptionReason, "] "); ok && strings.HasPrefix(single, "[") {
			finding.Rule, finding.Reason = line.RuleID+single+"]", reason
		}
		switch line.Compliance {
		case "Compliant", "N/A":
		case "Suppressed":
			r.Suppressed = append(r.Suppressed, finding)
		default: // Non-Compliant, or UNKNOWN where the rule itself broke
			r.Open = append(r.Open, finding)
		}
	}
	return r, nil
}

// err is the findings that nobody accepted, or nil.
func (r NagReport) err() error {
	if len(r.Open) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("cdk-nag: %d findings without a reasoned suppression", len(r.Open))}
	for _, finding := range r.Open {
		lines = append(lines, "  "+finding.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}
