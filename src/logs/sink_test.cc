// SPDX-License-Identifier: Apache-2.0
//
// What reaches the server's socket; that nothing is lost when it goes away is tested with real
// servers in tests/e2e/test_log_drivers.py.
#include "logs/sink.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/random.h"
#include "base/unique_fd.h"
#include "logs/attributes.h"
#include "logs/options.h"
#include "logs/syslog_message.h"

namespace gantry::logs {
namespace {

LogSource Source(std::string driver, Options options = {}) {
  LogSource source;
  source.id = std::string(64, 'a');
  source.name = "web";
  source.image_id = "sha256:" + std::string(64, 'b');
  source.image_name = "image:tag";
  source.labels = {{"app.name", "x"}, {"other", "y"}};
  source.env = {"MODE=fast", "HOME=/root"};
  source.driver = std::move(driver);
  source.options = std::move(options);
  return source;
}

LogEntry Entry(std::string line, bool is_error = false) {
  LogEntry entry;
  entry.time = FromUnixNanos(1'700'000'000'123'456'789);
  entry.line = std::move(line);
  entry.is_error = is_error;
  return entry;
}

TEST(AttributesTest, TagAndChoice) {
  EXPECT_EQ(*RenderTag(Source("")), std::string(12, 'a'));
  EXPECT_EQ(*RenderTag(Source("", {{"tag", "{{.ImageName}}/{{.Name}}/{{.ImageID}}"}})),
            "image:tag/web/" + std::string(12, 'b'));
  EXPECT_FALSE(RenderTag(Source("", {{"tag", "{{.Nothing}}"}})).ok());
  using Map = std::map<std::string, std::string>;
  EXPECT_EQ(*ChooseAttributes(Source("", {{"labels", "other,none"}, {"env-regex", "^MO"}})),
            (Map{{"other", "y"}, {"MODE", "fast"}}));
  EXPECT_FALSE(ChooseAttributes(Source("", {{"env-regex", "("}})).ok());
}

TEST(SyslogMessageTest, Forms) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  SyslogHeader header{SyslogForm::kUnix, 3, "host", "tag", 7};
  EXPECT_EQ(FormatSyslog(header, Entry("text")), "<30>Nov 14 22:13:20 tag[7]: text\n");
  header.form = SyslogForm::kRfc3164;
  EXPECT_EQ(FormatSyslog(header, Entry("text", true)), "<27>Nov 14 22:13:20 host tag[7]: text\n");
  header.form = SyslogForm::kRfc5424;
  header.facility = 16;
  EXPECT_EQ(FormatSyslog(header, Entry("text")),
            "<134>1 2023-11-14T22:13:20Z host tag 7 tag - text\n");
  header.form = SyslogForm::kRfc5424Micro;
  EXPECT_EQ(FormatSyslog(header, Entry("text")),
            "<134>1 2023-11-14T22:13:20.123456Z host tag 7 tag - text\n");
}

TEST(JournaldTest, FieldsInADatagram) {
  std::string path = testing::TempDir() + "gantry-journal-" + RandomHex(6);
  UniqueFd server(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto sink = *MakeJournaldSink(Source("journald", {{"labels", "app.name"}}), path);
  LogEntry entries[] = {Entry("two\nlines", true)};
  entries[0].partial = true;
  ASSERT_TRUE(sink->Send(entries).ok());
  char buffer[4096];
  ssize_t size = ::recv(server.get(), buffer, sizeof buffer, 0);
  std::string text(buffer, static_cast<size_t>(size));
  EXPECT_NE(text.find("CONTAINER_ID=aaaaaaaaaaaa\n"), std::string::npos);
  EXPECT_NE(text.find("CONTAINER_NAME=web\n"), std::string::npos);
  EXPECT_NE(text.find("\nAPP_NAME=x\n"), std::string::npos);
  EXPECT_NE(text.find(std::string("MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n", 25)),
            std::string::npos);
  EXPECT_NE(text.find("PRIORITY=3\n"), std::string::npos);
  EXPECT_NE(text.find("CONTAINER_PARTIAL_MESSAGE=true\n"), std::string::npos);
  ::unlink(path.c_str());
  server.Reset();
  EXPECT_FALSE(sink->Send(entries).ok());
}

}  // namespace
}  // namespace gantry::logs
