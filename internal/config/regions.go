package config

import "slices"

// AWSRegions lists the AWS Regions that a configuration may name.
func AWSRegions() []string { return slices.Clone(awsRegions) }

// awsRegions are the Regions of the commercial partition in which Global
// Accelerator takes endpoints. Source: the AWS Global Accelerator developer
// guide, "AWS Region availability". A Region that AWS opens later is added here.
var awsRegions = []string{
	"af-south-1",
	"ap-east-1", "ap-east-2",
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3",
	"ap-south-1", "ap-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-central-1", "ca-west-1",
	"eu-central-1", "eu-central-2",
	"eu-north-1",
	"eu-south-1", "eu-south-2",
	"eu-west-1", "eu-west-2", "eu-west-3",
	"il-central-1",
	"me-central-1", "me-south-1",
	"mx-central-1",
	"sa-east-1",
	"us-east-1", "us-east-2",
	"us-west-1", "us-west-2",
}

func checkRegion(path, name string) []Fault {
	switch {
	case slices.Contains(awsRegions, name):
		return nil
	case name == "":
		return []Fault{faultf(path, "must not be empty")}
	default:
		return []Fault{faultf(path, "%q is not an AWS Region%s", name, nearRegion(name))}
	}
}

func nearRegion(name string) string {
	best, distance := "", 4
	for _, region := range awsRegions {
		if d := editDistance(name, region); d < distance {
			best, distance = region, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}
