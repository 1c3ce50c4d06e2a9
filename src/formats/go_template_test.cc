// SPDX-License-Identifier: Apache-2.0
#include "formats/go_template.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

const char* kDocument = R"({
  "Id": "abc", "Name": "/web", "Count": 3, "Ratio": 1.5, "Flag": true, "Nothing": null,
  "State": {"Status": "running", "Pid": 42},
  "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "9/udp": null},
  "Args": ["a", "b", "c"], "Empty": [], "Labels": {"x": "1", "a": "2"}
})";

std::string Render(std::string_view text) {
  Result<GoTemplate> parsed = GoTemplate::Parse(text);
  if (!parsed.ok()) return parsed.error().message();
  Result<std::string> out = parsed->Execute(*Json::Parse(kDocument));
  return out.ok() ? *out : out.error().message();
}

TEST(GoTemplate, FieldsAndText) {
  EXPECT_EQ(Render("{{.Id}} {{ .State.Status }}!"), "abc running!");
  EXPECT_EQ(Render("{{.Count}} {{.Ratio}} {{.Flag}} {{.Nothing}}"), "3 1.5 true <nil>");
  EXPECT_EQ(Render("{{.Args}} {{.Labels}}"), "[a b c] map[a:2 x:1]");
  EXPECT_EQ(Render("a {{- .Id -}} b"), "aabcb");
  EXPECT_EQ(Render("{{/* note */}}x{{- /* note */ -}} y"), "xy");
}

// As Go 1.24 renders them.
TEST(GoTemplate, Templates) {
  EXPECT_EQ(Render("{{define \"x\"}}[{{.}}]{{end}}{{template \"x\" .Id}}{{template \"x\" .Count}}"),
            "[abc][3]");
  EXPECT_EQ(Render("{{template \"x\"}}{{define \"x\"}}{{.}}{{end}}"), "<nil>");
  EXPECT_EQ(Render("{{block \"b\" .State}}{{.Pid}}{{$.Pid}}{{end}}"), "4242");
  EXPECT_EQ(Render("{{define \"x\"}}1{{end}}{{define \"x\"}}2{{end}}{{template \"x\"}}"), "2");
  EXPECT_EQ(Render("{{template \"y\" .}}"),
            "template: :1:2: executing \"\" at <{{template \"y\"}}>: template \"y\" not defined");
  EXPECT_EQ(Render("{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}").find("depth") !=
                std::string::npos,
            true);
  EXPECT_EQ(Render("{{if true}}{{define \"x\"}}{{end}}{{end}}"),
            "template: :1: unexpected {{define}}");
  EXPECT_EQ(Render("{{define x}}{{end}}"), "template: :1: unexpected token in define clause");
  EXPECT_EQ(Render("{{define \"x\"}}"), "template: :1: unexpected EOF");
  Result<GoTemplate> inner = GoTemplate::Parse("{{define \"x\"}}{{.Size}}{{end}}");
  EXPECT_TRUE(inner->UsesField("Size") && !inner->UsesField("Id"));
}

TEST(GoTemplate, BreakAndContinue) {
  EXPECT_EQ(Render("{{range .Args}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}."), "a.");
  EXPECT_EQ(Render("{{range .Args}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}."), "ac.");
  EXPECT_EQ(Render("{{range .Args}}{{range $.Args}}{{break}}{{end}}{{.}}{{end}}"), "abc");
  EXPECT_EQ(Render("{{break}}"), "template: :1: {{break}} outside {{range}}");
}

TEST(GoTemplate, Functions) {
  EXPECT_EQ(Render("{{json .State}}"), "{\"Status\":\"running\",\"Pid\":42}");
  EXPECT_EQ(Render("{{.Args | json}}"), "[\"a\",\"b\",\"c\"]");
  EXPECT_EQ(Render("{{join .Args \", \"}} {{len .Args}} {{index .Args 1}}"), "a, b, c 3 b");
  EXPECT_EQ(Render("{{upper .Id}} {{title .Id}} {{.Name | lower}}"), "ABC Abc /web");
  EXPECT_EQ(Render("{{(index (index .Ports \"80/tcp\") 0).HostPort}}"), "8080");
  EXPECT_EQ(Render("{{slice .Name 1}} {{slice .Id 0 2}}"), "web ab");
  EXPECT_EQ(Render("{{printf \"%-5s|%5d|%q|%.2f|%v%%\" .Id .Count .Id .Ratio .Args}}"),
            "abc  |    3|\"abc\"|1.50|[a b c]%");
  EXPECT_EQ(Render("{{println .Id 1}}"), "abc 1\n");
  EXPECT_EQ(Render("{{pad .Id 1 2}}| {{truncate .Id 2}} {{split \"a,b\" \",\"}}"),
            " abc  | ab [a b]");
  EXPECT_EQ(Render("{{eq .Count 3}} {{ne .Id \"x\"}} {{lt 1 2}} {{and .Flag .Id}} {{or .Empty 7}} "
                   "{{not .Flag}}"),
            "true true true abc 7 false");
}

TEST(GoTemplate, TextForOtherPlaces) {
  EXPECT_EQ(Render("{{html \"<a href='x'>&\\\"\"}}"), "&lt;a href=&#39;x&#39;&gt;&amp;&#34;");
  EXPECT_EQ(Render("{{js \"it's <a=b>\\n\"}}"), "it\\'s \\u003Ca\\u003Db\\u003E\\u000A");
  EXPECT_EQ(Render("{{urlquery .Name \"a b~c\" 1 2}}"), "%2Fweba+b~c1+2");
}

TEST(GoTemplate, Blocks) {
  EXPECT_EQ(
      Render("{{if .Flag}}y{{else}}n{{end}}{{if .Empty}}y{{else if eq .Count 3}}3{{else}}n{{end}}"),
      "y3");
  EXPECT_EQ(Render("{{range .Args}}<{{.}}>{{end}}"), "<a><b><c>");
  EXPECT_EQ(Render("{{range $i, $v := .Args}}{{$i}}={{$v}} {{end}}"), "0=a 1=b 2=c ");
  EXPECT_EQ(Render("{{range $k, $v := .Labels}}{{$k}}:{{$v}};{{end}}"), "a:2;x:1;");
  EXPECT_EQ(Render("{{range .Empty}}x{{else}}none{{end}}"), "none");
  EXPECT_EQ(Render("{{with .State}}{{.Pid}} {{$.Id}}{{end}}"), "42 abc");
  EXPECT_EQ(Render("{{$n := .Count}}{{$n = 5}}{{$n}}"), "5");
  EXPECT_EQ(
      Render(
          "{{range $p, $c := .Ports}}{{$p}} -> {{if $c}}{{(index $c 0).HostPort}}{{end}};{{end}}"),
      "80/tcp -> 8080;9/udp -> ;");
}

TEST(GoTemplate, Messages) {
  EXPECT_EQ(Render("{{.Foo}}"),
            "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"");
  EXPECT_EQ(Render("x\n{{.State.Foo}}"),
            "template: :2:8: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"");
  EXPECT_EQ(Render("{{.Id"), "template: :1: unclosed action");
  EXPECT_EQ(Render("{{nope .Id}}"), "template: :1: function \"nope\" not defined");
  EXPECT_EQ(Render("{{if .Id}}"), "template: :1: unexpected EOF");
  EXPECT_EQ(Render("{{end}}"), "template: :1: unexpected {{end}}");
  EXPECT_EQ(Render("{{index .Args 9}}"),
            "template: :1:2: executing \"\" at <index .Args 9>: error calling index: index out of "
            "range: 9");
  EXPECT_EQ(Render("{{if}}x{{end}}"), "template: :1: missing value for if");
  EXPECT_EQ(Render("{{len ()}}"), "template: :1: missing value for parenthesized pipeline");
}

TEST(GoTemplate, MembersThatAnObjectHasNot) {
  GoTemplate::Options options;
  options.absent = [](const Json&, std::string_view parent,
                      std::string_view field) -> std::optional<Json> {
    if (parent == "State" && field == "Health") return Json();
    return std::nullopt;
  };
  Json root = *Json::Parse(R"({"State":{"Pid":1},"Attributes":{"a":"b"}})");
  auto render = [&](std::string_view text) {
    auto out = GoTemplate::Parse(text)->Execute(root, options);
    return out.ok() ? *out : out.error().message();
  };
  EXPECT_EQ(render("{{if .State.Health}}a{{else}}b{{end}} {{json .State.Health}}"), "b null");
  EXPECT_EQ(render("{{.State.Health.Status}}"),
            "template: :1:8: executing \"\" at <.State.Health.Status>: map has no entry for key "
            "\"Health\"");
  EXPECT_NE(render("{{.State.Other}}").find("no entry"), std::string::npos);
  EXPECT_EQ(render("{{.Attributes.x}}{{with .Attributes.x}}c{{end}}"), "<no value>");
}

TEST(GoTemplate, KeysThatAMapHasNot) {
  auto render = [](std::string_view text) {
    Json root = *Json::Parse(
        R"({"Labels":{"a":"b"},"None":{},"Null":null,"Ports":{"80/tcp":[{"HostPort":"1"}]},)"
        R"("Networks":{"bridge":{"Gateway":"x"}},"Flags":{"on":true}})");
    return *GoTemplate::Parse(text)->Execute(root);
  };
  EXPECT_EQ(render("[{{index .Labels \"x\"}}{{index .None \"x\"}}{{index .Null \"x\"}}]"), "[]");
  EXPECT_EQ(render("{{index .Ports \"9/tcp\"}} {{index .Networks \"x\"}} {{index .Flags \"x\"}}"),
            "[] <nil> false");
  EXPECT_EQ(
      render("{{eq (index .Labels \"x\") \"\"}} {{if index .Networks \"x\"}}a{{else}}b{{end}}"),
      "true b");
}

TEST(GoTemplate, RootTypeAndMethods) {
  GoTemplate::Options options;
  options.root_type = "*T";
  options.method = [](std::string_view name, const std::vector<Json>& args) -> std::optional<Json> {
    if (name != "Label" || args.size() != 1) return std::nullopt;
    return Json("label " + args[0].AsString());
  };
  Json root = *Json::Parse(kDocument);
  EXPECT_EQ(*GoTemplate::Parse("{{.Label \"a\"}}")->Execute(root, options), "label a");
  EXPECT_EQ(GoTemplate::Parse("{{.Foo}}")->Execute(root, options).error().message(),
            "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *T");
  EXPECT_TRUE(GoTemplate::Parse("{{if (eq .Size \"x\")}}{{end}}")->UsesField("Size"));
  EXPECT_FALSE(GoTemplate::Parse("{{.Id}}")->UsesField("Size"));
}

TEST(GoTemplate, NamesOfTheRoot) {
  GoTemplate::Options options;
  options.root_type = "*a.B";
  options.root_names = {{"ID", "Id"}, {"Gone", "gone"}};
  auto render = [&](std::string_view text) {
    auto out = GoTemplate::Parse(text)->Execute(*Json::Parse(kDocument), options);
    return out.ok() ? *out : out.error().message();
  };
  EXPECT_EQ(render("{{.ID}}[{{.Gone}}]"), "abc[]");
  EXPECT_EQ(render("{{.State.ID}}"),
            "template: :1:8: executing \"\" at <.State.ID>: map has no entry for key \"ID\"");
  EXPECT_EQ(render("{{range .Id}}{{end}}"),
            "template: :1:8: executing \"\" at <.Id>: range can't iterate over abc");
}

TEST(GoTemplateTest, KeysOfStringMapsMayBeMissing) {
  Json root = Json::Parse(R"({"Config": {"Labels": {"a": "b"}, "Env": null}, "Labels": null})")
                  .value_or(Json());
  auto render = [&](std::string_view text) {
    Result<GoTemplate> view = GoTemplate::Parse(text);
    if (!view.ok()) return view.error().message();
    Result<std::string> out = view->Execute(root);
    return out.ok() ? *out : out.error().message();
  };
  EXPECT_EQ(render("{{.Config.Labels.a}} {{.Config.Labels.x}} {{.Labels.y}}"),
            "b <no value> <no value>");
  EXPECT_EQ(render("{{if .Config.Labels.x}}yes{{else}}no{{end}}"), "no");
  EXPECT_EQ(render("{{len .Config.Env}}"), "0");
  EXPECT_NE(render("{{.Config.x}}").find("map has no entry"), std::string::npos);
}

}  // namespace
}  // namespace gantry::formats
