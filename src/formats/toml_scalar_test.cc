// SPDX-License-Identifier: Apache-2.0
#include "formats/toml_scalar.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace gantry::formats {
namespace {

TEST(TomlScalar, Numbers) {
  using Limits = std::numeric_limits<int64_t>;
  for (const auto& [text, value] : std::initializer_list<std::pair<const char*, int64_t>>{
           {"0", 0},
           {"+99", 99},
           {"-17", -17},
           {"1_000", 1000},
           {"0xDEAD_beef", 0xdeadbeef},
           {"0o755", 0755},
           {"0b1101", 13},
           {"-0", 0},
           {"9223372036854775807", Limits::max()},
           {"-9223372036854775808", Limits::min()}}) {
    auto read = ParseTomlScalar(text);
    ASSERT_TRUE(read.ok() && read->is_int64()) << text;
    EXPECT_EQ(read->AsInt(), value) << text;
  }
  for (const auto& [text, value] : std::initializer_list<std::pair<const char*, double>>{
           {"3.1415", 3.1415},
           {"-0.01", -0.01},
           {"5e+22", 5e22},
           {"1e06", 1e6},
           {"-2E-2", -0.02},
           {"6.626e-34", 6.626e-34},
           {"224_617.445_991", 224617.445991},
           {"-inf", -std::numeric_limits<double>::infinity()}}) {
    auto read = ParseTomlScalar(text);
    ASSERT_TRUE(read.ok() && !read->is_integer()) << text;
    EXPECT_EQ(read->AsDouble(), value) << text;
  }
  EXPECT_TRUE(std::isnan(ParseTomlScalar("+nan")->AsDouble()));
}

TEST(TomlScalar, DatesAndTimes) {
  for (const auto& [text, value] : std::initializer_list<std::pair<const char*, const char*>>{
           {"1979-05-27", "1979-05-27"},
           {"1979-05-27T07:32:00Z", "1979-05-27T07:32:00Z"},
           {"1979-05-27 07:32:00.999999999z", "1979-05-27T07:32:00.999999Z"},
           {"1979-05-27t00:32:00.50-07:00", "1979-05-27T00:32:00.5-07:00"},
           {"1979-05-27T00:32:00.0+00:00", "1979-05-27T00:32:00Z"},
           {"2024-02-29T00:00:00", "2024-02-29T00:00:00"},
           {"07:32:00", "07:32:00"},
           {"00:32:00.123", "00:32:00.123"}}) {
    auto read = ParseTomlScalar(text);
    ASSERT_TRUE(read.ok()) << text;
    EXPECT_EQ(read->AsString(), value) << text;
  }
}

TEST(TomlScalar, NothingElse) {
  for (const char* text : {"",
                           "+",
                           "01",
                           "1_",
                           "_1",
                           "1__0",
                           "0x",
                           "0X1",
                           "+0x1",
                           "0xg",
                           "0o8",
                           "0b2",
                           "1.",
                           ".5",
                           "1.e1",
                           "1e",
                           "1e5.5",
                           "+-1",
                           "True",
                           "truex",
                           "Inf",
                           "1 ",
                           "2v+",
                           "00",
                           "-01",
                           "1979-13-01",
                           "1979-02-29",
                           "1900-02-29",
                           "1979-5-27",
                           "0000-01-01",
                           "24:00:00",
                           "07:60:00",
                           "07:32",
                           "07:32:61",
                           "07:32:00.",
                           "1979-05-27T",
                           "1979-05-27T07:32:00+7:00",
                           "1979-05-27T07:32:00+24:00",
                           "1979-05-27X07:32:00",
                           "1979-05-27T07:32:00Zz",
                           "9223372036854775808",
                           "1e999",
                           "07:32:00Z"}) {
    EXPECT_FALSE(ParseTomlScalar(text).ok()) << text;
  }
}

}  // namespace
}  // namespace gantry::formats
