# SPDX-License-Identifier: BSD-3-Clause
# lwIP: found at LWIP_DIR or fetched once, built unmodified with our lwipopts.h.

set(LWIP_DIR "" CACHE PATH "lwIP 2.2.1, the directory that holds src/; \
empty: fetch it into build/cache")

if(LWIP_DIR)
	set(lwip_dir ${LWIP_DIR})
else()
	# One cache for all build directories; the lock is for two configures
	# at the same time.
	set(lwip_cache ${CMAKE_SOURCE_DIR}/build/cache)
	set(lwip_dir ${lwip_cache}/lwip-2.2.1)
	file(MAKE_DIRECTORY ${lwip_cache})
	file(LOCK ${lwip_cache} DIRECTORY GUARD FILE TIMEOUT 600)
	if(NOT EXISTS ${lwip_dir}/src/core/tcp.c)
		message(STATUS "Fetching lwIP 2.2.1 into ${lwip_cache}")
		execute_process(
			COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/fetch-lwip.sh
				${lwip_cache}
			RESULT_VARIABLE lwip_status)
		if(NOT lwip_status EQUAL 0)
			message(FATAL_ERROR "lwIP 2.2.1 could not be fetched: "
				"unpack it yourself and configure with "
				"-DLWIP_DIR=DIR (DIR/src must exist)")
		endif()
	endif()
	file(LOCK ${lwip_cache} DIRECTORY RELEASE)
endif()
if(NOT EXISTS ${lwip_dir}/src/core/tcp.c)
	message(FATAL_ERROR "LWIP_DIR=${lwip_dir} holds no src/core/tcp.c: "
		"give the directory of the unpacked lwIP 2.2.1")
endif()
file(STRINGS ${lwip_dir}/src/include/lwip/init.h lwip_version
	REGEX "define LWIP_VERSION_(MAJOR|MINOR|REVISION) ")
string(REGEX REPLACE "[^0-9;]" "" lwip_version "${lwip_version}")
if(NOT lwip_version STREQUAL "2;2;1")
	message(FATAL_ERROR "lwIP in ${lwip_dir} is version "
		"'${lwip_version}': 2.2.1 is needed")
endif()

# What including lwIP takes. core/ comes after the system's folders: it is there
# for lwipopts.h and arch/cc.h, and must not shadow headers like <link.h>.
add_library(lwip_headers INTERFACE)
target_include_directories(lwip_headers SYSTEM INTERFACE
	${lwip_dir}/src/include)
target_compile_options(lwip_headers INTERFACE
	"SHELL:-idirafter ${CMAKE_SOURCE_DIR}/core")

file(GLOB lwip_sources
	${lwip_dir}/src/core/*.c
	${lwip_dir}/src/core/ipv4/*.c
	${lwip_dir}/src/core/ipv6/*.c)
add_library(lwip OBJECT ${lwip_sources})
target_link_libraries(lwip PRIVATE lwip_headers)
# The root is for what lwipopts.h includes of ours.
target_compile_options(lwip PRIVATE -w -fvisibility=hidden
	"SHELL:-idirafter ${CMAKE_SOURCE_DIR}")
set_target_properties(lwip PROPERTIES POSITION_INDEPENDENT_CODE ON)
if(LWR_SANITIZE MATCHES undefined)
	# lwIP shifts bytes into the sign bit of an int.
	target_compile_options(lwip PRIVATE -fno-sanitize=shift)
endif()
