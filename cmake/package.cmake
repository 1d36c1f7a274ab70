# SPDX-License-Identifier: BSD-3-Clause
# The libraries as users get them, and what is installed.
#
# Only what relay/lwrelay.h marks LWR_API is seen outside: all else, lwIP
# included, is compiled hidden. In the shared library that is enough, and the
# version script says it once more. In an archive hidden symbols still meet those
# of the user's program, which may have an lwIP of its own with other structs; so
# the static library is one object in which they have become local.

include(CMakePackageConfigHelpers)

function(lwr_interface target name)
	set_target_properties(${target} PROPERTIES
		OUTPUT_NAME lwrelay EXPORT_NAME ${name} LINKER_LANGUAGE C)
	target_include_directories(${target} INTERFACE
		$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/relay>
		$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
	add_library(lwrelay::${name} ALIAS ${target})
endfunction()

set(lwr_all $<TARGET_OBJECTS:lwr_objects> $<TARGET_OBJECTS:lwip>)
set(lwr_map ${CMAKE_CURRENT_LIST_DIR}/lwrelay.map)

add_library(lwrelay_shared SHARED ${lwr_all})
lwr_interface(lwrelay_shared lwrelay)
set_target_properties(lwrelay_shared PROPERTIES
	VERSION ${PROJECT_VERSION} SOVERSION 0 LINK_DEPENDS ${lwr_map})
target_link_libraries(lwrelay_shared
	PRIVATE PkgConfig::LWR_DEPS Threads::Threads)
target_link_options(lwrelay_shared PRIVATE -Wl,--version-script=${lwr_map})
if(NOT LWR_SANITIZE)
	target_link_options(lwrelay_shared PRIVATE -Wl,-z,defs)
endif()

set(lwr_object ${CMAKE_CURRENT_BINARY_DIR}/lwrelay.o)
separate_arguments(lwr_cflags UNIX_COMMAND "${CMAKE_C_FLAGS}")
if(CMAKE_C_COMPILER_ID STREQUAL GNU)
	# With -flto in the flags: machine code all the same.
	list(APPEND lwr_cflags -flinker-output=nolto-rel)
endif()
add_custom_command(OUTPUT ${lwr_object} VERBATIM COMMAND_EXPAND_LISTS
	COMMAND ${CMAKE_C_COMPILER} ${lwr_cflags} -r -nostdlib
		-o ${lwr_object} ${lwr_all}
	COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${lwr_object}
	DEPENDS ${lwr_all})
add_library(lwrelay_static STATIC ${lwr_object})
lwr_interface(lwrelay_static static)
target_link_libraries(lwrelay_static
	INTERFACE PkgConfig::LWR_DEPS Threads::Threads)

# lwrelay.pc finds its prefix from where it lies, so that a tree can be moved.
file(RELATIVE_PATH up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
	${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" up ${up})
set(libdir "\${prefix}")
cmake_path(APPEND libdir ${CMAKE_INSTALL_LIBDIR})
set(includedir "\${prefix}")
cmake_path(APPEND includedir ${CMAKE_INSTALL_INCLUDEDIR})
list(JOIN LWR_DEPS_LIST ", " requires)
string(REPLACE ">=" " >= " requires "${requires}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/lwrelay.pc.in lwrelay.pc @ONLY)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/lwrelay)
list(JOIN LWR_DEPS_LIST " " needs)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/lwrelayConfig.cmake.in
	lwrelayConfig.cmake INSTALL_DESTINATION ${package}
	NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(lwrelayConfigVersion.cmake
	COMPATIBILITY SameMinorVersion)

install(TARGETS lwrelay)
install(TARGETS lwrelay_shared EXPORT lwrelayTargets)
install(TARGETS lwrelay_static EXPORT lwrelayStaticTargets)
install(EXPORT lwrelayTargets NAMESPACE lwrelay:: DESTINATION ${package})
install(EXPORT lwrelayStaticTargets NAMESPACE lwrelay::
	DESTINATION ${package})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lwrelayConfig.cmake
	${CMAKE_CURRENT_BINARY_DIR}/lwrelayConfigVersion.cmake
	DESTINATION ${package})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lwrelay.pc
	DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES relay/lwrelay.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES man/lwrelay.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES man/lwrelay.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
install(FILES LICENSE docs/library.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${lwip_dir}/COPYING DESTINATION ${CMAKE_INSTALL_DOCDIR}
	RENAME LICENSE.lwip)
install(DIRECTORY docs/examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
