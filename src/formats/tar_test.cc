// SPDX-License-Identifier: Apache-2.0
#include "formats/tar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "base/io.h"

namespace gantry::formats {
namespace {

namespace fs = std::filesystem;

struct Read {
  TarEntry entry;
  std::string data;
};

Result<std::vector<Read>> ReadArchive(std::string_view text, size_t chunk = 1000) {
  StringSource source(text, chunk);
  TarReader reader(source);
  std::vector<Read> all;
  Read one;
  while (TRY(reader.NextEntry(&one.entry))) {
    one.data = TRY(reader.ReadData(size_t{1} << 30));
    all.push_back(one);
  }
  TRY(reader.Drain());
  return all;
}

std::vector<Read> Samples() {
  std::vector<Read> samples;
  auto add = [&](TarEntry entry, std::string data = "") {
    entry.size = data.size();
    samples.push_back({entry, data});
  };
  add({.name = "a", .mode = 04755, .uid = 1, .gid = 2, .mtime_seconds = 1000}, "contents");
  add({.name = "empty"});
  add({.type = TarType::kDirectory, .name = "d/", .mode = 01777});
  add({.name = std::string(90, 'p') + "/" + std::string(90, 'n')}, "split");
  add({.name = std::string(300, 'x')}, std::string(5000, 'y'));
  add({.type = TarType::kSymlink, .name = "l", .link_name = std::string(200, 't'), .mode = 0777});
  add({.type = TarType::kHardLink, .name = "h", .link_name = "a"});
  add({.type = TarType::kCharDevice, .name = "null", .device_major = 1, .device_minor = 3});
  add({.type = TarType::kFifo, .name = "pipe"});
  add({.name = "bl\xc3\xbctter", .uid = 4'000'000'000, .gid = 3'000'000'000}, "x");
  add({.name = "times", .mtime_seconds = -2, .mtime_nanos = 250'000'000});
  add({.name = "times2", .mtime_seconds = -1, .mtime_nanos = 250'000'000});
  add({.name = "xattr", .xattrs = {{"user.a", std::string("1\0\n2=", 5)}, {"user.empty", ""}}});
  return samples;
}

std::string WriteArchive(const std::vector<Read>& entries) {
  StringSink sink;
  TarWriter writer(sink);
  for (const Read& one : entries) {
    EXPECT_TRUE(writer.WriteHeader(one.entry).ok());
    EXPECT_TRUE(writer.WriteData(one.data).ok());
  }
  EXPECT_TRUE(writer.Finish().ok());
  return sink.text;
}

TEST(Tar, ReadsWhatItWrites) {
  std::vector<Read> samples = Samples();
  std::string archive = WriteArchive(samples);
  EXPECT_EQ(archive.size() % 512, 0u);
  for (size_t chunk : {1, 7, 511, 513, 100000}) {
    auto read = ReadArchive(archive, chunk);
    ASSERT_TRUE(read.ok()) << read.error().message();
    ASSERT_EQ(read->size(), samples.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      EXPECT_EQ((*read)[i].entry, samples[i].entry) << samples[i].entry.name;
      EXPECT_EQ((*read)[i].data, samples[i].data) << samples[i].entry.name;
    }
  }
}

TEST(Tar, RefusesDamage) {
  std::string archive = WriteArchive(Samples());
  EXPECT_FALSE(ReadArchive(archive.substr(0, 514)).ok());
  EXPECT_FALSE(ReadArchive(archive.substr(0, 100)).ok());
  std::string wrong = archive;
  wrong[1024 + 3] ^= 1;
  EXPECT_THAT(ReadArchive(wrong).error().message(), testing::HasSubstr("checksum"));
  wrong[3] ^= 1;
  EXPECT_THAT(ReadArchive(wrong).error().message(), testing::HasSubstr("no tar archive"));
  EXPECT_TRUE(ReadArchive("")->empty());
  EXPECT_TRUE(ReadArchive(std::string(1024, '\0'))->empty());
  // No zero blocks at the end: as GNU tar and others accept it.
  EXPECT_TRUE(ReadArchive(archive.substr(0, archive.size() - 1024)).ok());
  // One of the two is an end as well, but not one and a half.
  EXPECT_TRUE(ReadArchive(archive.substr(0, archive.size() - 512)).ok());
  EXPECT_THAT(ReadArchive(archive.substr(0, archive.size() - 1)).error().message(),
              testing::HasSubstr("unexpected end"));
  EXPECT_THAT(ReadArchive(std::string(512, '\0') + archive).error().message(),
              testing::HasSubstr("between entries"));
}

TEST(Tar, CountsItsOwnLengthInPax) {
  // Values whose record's length crosses a power of ten.
  for (size_t size = 70; size < 120; ++size) {
    Read one{{.name = "n", .xattrs = {{"user.a", std::string(size, 'v')}}}, ""};
    auto read = ReadArchive(WriteArchive({one}));
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ((*read)[0].entry, one.entry);
  }
}

class GnuTar : public testing::Test {
 protected:
  void SetUp() override {
    if (::system("tar --version 2>/dev/null | grep -q GNU") != 0) GTEST_SKIP() << "no GNU tar";
    char path[] = "/tmp/gantry-tar-XXXXXX";
    top_ = ::mkdtemp(path);
  }
  void TearDown() override {
    if (!top_.empty()) fs::remove_all(top_);
  }
  std::string top_;
};

TEST_F(GnuTar, ReadsEveryFormat) {
  fs::create_directories(top_ + "/in/d");
  std::string long_name(180, 'n');
  ASSERT_TRUE(CreateFile(top_ + "/in/a", "hello", 0640).ok());
  ASSERT_TRUE(CreateFile(top_ + "/in/d/" + long_name, std::string(70000, 'z'), 0600).ok());
  fs::create_symlink("target", top_ + "/in/link");
  fs::create_hard_link(top_ + "/in/a", top_ + "/in/hard");
  for (const char* format : {"ustar", "gnu", "pax", "posix", "oldgnu"}) {
    bool short_names = std::string_view(format) == "ustar";
    std::string command = fmt::format("cd {}/in && tar --format={} {} --sort=name -cf ../{}.tar .",
                                      top_, format, short_names ? "--exclude='nnn*'" : "", format);
    ASSERT_EQ(::system(command.c_str()), 0);
    auto read = ReadArchive(*ReadFile(fmt::format("{}/{}.tar", top_, format)));
    ASSERT_TRUE(read.ok()) << format << read.error().message();
    std::map<std::string, Read> by_name;
    for (Read& one : *read) by_name[one.entry.name] = one;
    EXPECT_EQ(by_name["./a"].data, "hello") << format;
    EXPECT_EQ(by_name["./a"].entry.mode, 0640u);
    EXPECT_EQ(by_name["./hard"].entry.type, TarType::kHardLink);
    EXPECT_EQ(by_name["./hard"].entry.link_name, "./a");
    EXPECT_EQ(by_name["./link"].entry.link_name, "target");
    EXPECT_EQ(by_name["./d/"].entry.type, TarType::kDirectory);
    if (!short_names) {
      EXPECT_EQ(by_name["./d/" + long_name].data.size(), 70000u) << format;
    }
  }
}

TEST_F(GnuTar, SparseFilesAreRefused) {
  ASSERT_EQ(::system(("cd " + top_ +
                      " && truncate -s 10M s && tar --sparse --format=gnu -cf g.tar s "
                      "&& tar --sparse --format=posix -cf p.tar s")
                         .c_str()),
            0);
  for (const char* name : {"/g.tar", "/p.tar"}) {
    auto read = ReadArchive(*ReadFile(top_ + name));
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().kind(), ErrorKind::kUnimplemented);
    EXPECT_THAT(read.error().message(), testing::HasSubstr("sparse"));
  }
}

TEST_F(GnuTar, ExtractsWhatWeWrite) {
  std::vector<Read> samples;
  for (Read& one : Samples()) {
    if (one.entry.type != TarType::kCharDevice && one.entry.mtime_seconds >= 0 &&
        one.entry.name.size() < 256) {
      one.entry.xattrs.clear();
      one.entry.uid = one.entry.gid = 0;
      samples.push_back(one);
    }
  }
  ASSERT_TRUE(CreateFile(top_ + "/w.tar", WriteArchive(samples), 0600).ok());
  fs::create_directory(top_ + "/out");
  ASSERT_EQ(::system(("tar -C " + top_ + "/out --no-same-owner -xf " + top_ + "/w.tar").c_str()),
            0);
  for (const Read& one : samples) {
    std::string path = top_ + "/out/" + one.entry.name;
    if (one.entry.type != TarType::kFile) continue;
    EXPECT_EQ(*ReadFile(path), one.data) << one.entry.name;
  }
  EXPECT_EQ(fs::read_symlink(top_ + "/out/l").string().size(), 200u);
}

TEST(TarReader, LastFileWithoutItsPadding) {
  StringSink sink;
  TarWriter writer(sink);
  ASSERT_TRUE(writer.WriteFile({.name = "f", .mode = 0644}, "ten bytes.").ok());
  std::string text = sink.text.substr(0, 512 + 10);
  StringSource source(text);
  TarReader reader(source);
  TarEntry entry;
  ASSERT_TRUE(*reader.NextEntry(&entry));
  EXPECT_EQ(*reader.ReadData(100), "ten bytes.");
  auto more = reader.NextEntry(&entry);
  ASSERT_TRUE(more.ok()) << more.error().message();
  EXPECT_FALSE(*more);
  StringSource cut(std::string_view(text).substr(0, 512 + 9));
  TarReader reads_cut(cut);
  ASSERT_TRUE(*reads_cut.NextEntry(&entry));
  EXPECT_FALSE(reads_cut.ReadData(100).ok()) << "contents must be whole";
}

}  // namespace
}  // namespace gantry::formats
