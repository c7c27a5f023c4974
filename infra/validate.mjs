// Validates CloudFormation templates offline, against the resource schemas and
// rules that come with the engine. Arguments: template files, each followed by
// the Region it is meant for. Prints one JSON object per template.
import { CelEngine, TemplateFile } from "@aws/cloudformation-validate";

const engine = new CelEngine();
const args = process.argv.slice(2);
for (let i = 0; i < args.length; i += 2) {
  const [path, region] = [args[i], args[i + 1]];
  const report = engine.validateStandard(new TemplateFile(path), {
    severityLevel: "WARN",
    pseudoParameterOverrides: { region },
  });
  console.log(JSON.stringify({ path, status: report.status, findings: report.diagnostics }));
}
engine.free();
