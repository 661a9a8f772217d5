"""Tables of deprecated modules, names, members and keywords; `pose.deprecation` forwards them."""

# Modules that moved: old package -> new package: old=new, or one name where it is the same.
MODULES = """
og_reid -> meshes: clouds_in=adapters
og_reid: bulk=pipelines visualize=viz
og_reid -> og_reid.cli: progress
og_reid -> og_reid.data.clouds: lifting=lift_dataset
og_reid -> og_reid.evaluation: comparison=results histogram=color_histogram paired
    slicing=query_slices
og_reid -> og_reid.files: strict=from_mapping tensor_files=tensors
og_reid -> og_reid.inference: embedding=extract fusion fusion_run=fusion_file loading=pretrained
    provenance
og_reid -> og_reid.losses: objective
og_reid -> og_reid.config: config_checks=schema
og_reid -> og_reid.pipelines: demo doctor people_comparison=evaluation
og_reid -> og_reid.retrieval: matching=similarity
og_reid -> og_reid.train: checkpoint schedule
og_reid -> og_reid.viz: render=splatting report=html_report
og_reid.bulk -> og_reid.pipelines: embedding=embed_files lifting=lift_files
og_reid.config: checks=schema
og_reid.data: draws=keyed_random
og_reid.data -> og_reid.data.augmentation: borrow=cross_cloud recolor=identity_color transforms
og_reid.data -> og_reid.data.clouds: attempts batch cache_folder cloud_cache=cache cloud_file
    convert=convert_market3d market3d reference_obj=market3d_obj shard source store
og_reid.data -> og_reid.data.datasets: hold_out=holdout market occluded_duke=build_occluded_duke
og_reid.data -> og_reid.data.files: folder_lock image_files inputs table
og_reid.data -> og_reid.data.images: people=image_set photos=augment
og_reid.data.datasets: checking=integrity description=schema holistic=person listing=sources
    occluded=occluded_person own=custom reading=reader things=objects
og_reid.evaluation: counts=rank_counts slices=viewpoints
og_reid.evaluation -> og_reid.retrieval: given=inputs labels orientation=similarity_warning
    products=distance_blocks ranking=search reranked sides=features
og_reid.losses: registered=terms
og_reid.models -> og_reid.files: plain_weights=snapshot
og_reid.models: build=registry continuous=soft_layers described=spec_bounds embedder=point_network
    undrawn=init
og_reid.ops: ball=ball_query counting=rank_counts faded=soft_pool faded_gate=soft_gated_pool
    fading=soft_neighbors gate=gated_pool indices=neighbor_index moments=edge_moments nearest=topk
    sampling=fps
og_reid.ops -> og_reid.ops._torch: chunks gate_chunks=gated_pool patches=knn_patches
og_reid.rerank: gnn=graph
og_reid.train: ahead=prefetch clouds=cloud_task folder=run_folder people=image_task
    processes=distributed record=run_log sampling=samplers
meshes: cloud_io=pointcloud_io cloud_values=pointcloud_values part_visibility=visibility
    zbuffer=rasterizer
meshes -> meshes.body: landmarks smpl_arrays smpl_file=smpl smpl_pickle
meshes -> meshes.fitting: camera fit fit_targets=targets fit_terms=residuals skeleton
meshes -> meshes.formats: obj_file=obj ply_file=ply
meshes.world: chance=rng render=rendering
meshes.world -> meshes.world.imaging: camera sensor shade=shading
meshes.world -> meshes.world.people: carried=bags drape figure hair identity motion=poses shoes
    skins=skin_textures tailor=clothing
meshes.world -> meshes.world.scenery: backdrop occluders street vehicles
meshes.world -> meshes.world.surfaces: fabric palette pieces shapes=primitives
pose: occlusion=visibility target=person_selection
pose -> pose.estimators: cache estimator=base mediapipe_estimator=mediapipe mmpose_estimator=mmpose
    mmpose_import mmpose_model native_graph people=people_detector precomputed
pose -> pose.files: atomic=atomic_write npz_file=npz reading
pose -> pose.formats: estimator_files=estimators estimator_writers io=coco json_fields
pose -> pose.runtime: defaults forks process_pool torchvision_import
"""
# Names that were renamed or moved apart from their module: old module -> new module: old=new.
NAMES = """
og_reid.bulk -> og_reid.pipelines.embed_files: EmbeddedFiles embed_files
og_reid.bulk -> og_reid.pipelines.lift_files: LiftedFile LiftedFiles lift_files
og_reid.checkpoint -> og_reid.train.checkpoint: keep_states=rotate_checkpoints
    read_origin=read_provenance read_state=load_checkpoint save_state=save_checkpoint
og_reid.checkpoint -> og_reid.models.state_dict: misfit=state_dict_mismatch
og_reid.checkpoint -> og_reid.inference.provenance: origin=run_provenance package_version
og_reid.checkpoint -> og_reid.inference.model_file: save_weights
og_reid.checkpoint -> og_reid.inference.cloud_encoder: StoredModel=CloudEncoder
og_reid.checkpoint -> og_reid.inference.image_encoder: StoredPeopleModel=ImageEncoder
og_reid.checkpoint -> og_reid.inference.pretrained: read_model=load_model
    read_people_model=load_model save_model=save_network save_people_model=save_network
og_reid.clouds_in -> og_reid.data.clouds.market3d: ReferenceClouds
og_reid.comparison -> og_reid.evaluation.results: Comparison=ResultRow save_comparisons=save_results
og_reid.comparison -> og_reid.pipelines.run_results: load_comparisons=load_run_results
og_reid.comparison -> og_reid.data.clouds.source: Clouds=CloudDataset
og_reid.comparison -> og_reid.inference.encoder: Search
og_reid.comparison -> og_reid.pipelines.evaluation: Reranking measure_distances=compute_distances
    rerank_by score=score_distances
og_reid.config -> og_reid.config.schema: PHOTO_PRESETS=IMAGE_ARCHITECTURES
og_reid.config_checks -> og_reid.config.schema: PHOTO_PRESETS=IMAGE_ARCHITECTURES
og_reid.data: MarketSplits=Splits PeopleBatch=ImageBatch PeopleSet=ImageSet
og_reid.data.clouds -> og_reid.data.clouds.cloud_set: CloudSet
og_reid.data.datasets: Check=IntegrityReport Description=DatasetSpec OWN=CUSTOM
    describe=dataset_spec
og_reid.data.datasets.checking -> og_reid.data.datasets.integrity: Check=IntegrityReport
og_reid.data.datasets.description -> og_reid.data.datasets.schema: Description=DatasetSpec
    FirstOf=AnyOf Tracks=TrackletFile
og_reid.data.datasets.things -> og_reid.data.datasets.objects: THINGS=OBJECTS
og_reid.data.datasets.registry: OWN=CUSTOM describe=dataset_spec
og_reid.data.draws -> og_reid.data.keyed_random: Draws=KeyedRandom copy_numbers=occurrence_index
og_reid.data.hold_out -> og_reid.data.datasets.holdout: HeldOut=HoldoutSplit hold_out=holdout_split
og_reid.data.images -> og_reid.data.images.preprocess: IMAGE_SIZE MEAN STD mirror_images
    network_image=preprocess_image
og_reid.data.market -> og_reid.data.sample: MarketSplits=Splits Sample
og_reid.data.market3d -> og_reid.data.clouds.market3d_tree: SPLITS load_market3d
og_reid.data.market3d -> og_reid.data.clouds.market3d: slim=subsample slim_batch=subsample_batch
    slim_to=subsample_to
og_reid.data.people -> og_reid.data.images.image_set: PeopleBatch=ImageBatch PeopleSet=ImageSet
og_reid.data.photos -> og_reid.data.images.augment: PhotoConfig=ImageConfig
    augment_people=augment_images
og_reid.data.samplers: effective_epochs=samples_per_epoch
og_reid.data.shard -> og_reid.data.clouds.shard: PackedCloud=QuantizedCloud
og_reid.data.source -> og_reid.data.clouds.source: CloudSource=CloudDataset
og_reid.doctor -> og_reid.pipelines.doctor: Finding=CheckResult examine=run_checks
og_reid.embedding -> og_reid.inference.preprocessing: Layout=PointOrder
    PhotoPreprocessing=ImagePreprocessing Preprocessing TestView name_views
og_reid.embedding -> og_reid.inference.extract: embed_people=embed_images
og_reid.evaluation: Difference=PairedDifference
og_reid.evaluation.counts -> og_reid.retrieval.distance_blocks:
    check_readable_again=check_rereadable distance_rows tiles=iter_blocks
og_reid.evaluation.counts -> og_reid.retrieval.match_distances: no_values=empty_values
og_reid.evaluation.counts -> og_reid.retrieval.progress: part_of=subprogress shifted=offset_progress
og_reid.evaluation.given -> og_reid.retrieval.inputs: given_count=as_count given_number=as_number
    given_tensor=as_tensor
og_reid.evaluation.labels -> og_reid.retrieval.matches: Matches find_matches gallery_digest
    has_matches
og_reid.evaluation.products -> og_reid.retrieval.distance_blocks: Product=BlockDistance
    plan=block_size
og_reid.evaluation.protocols -> og_reid.retrieval.features: group_rows
og_reid.evaluation.reranked -> og_reid.retrieval.reranked: Reranked=LazyDistances
og_reid.evaluation.sides -> og_reid.retrieval.features: Side=FeatureSource Unit=NormalizedFeatures
    open_side=as_feature_source
og_reid.evaluation.significance -> og_reid.evaluation.paired: Difference=PairedDifference
    compare_paired
og_reid.fusion -> og_reid.inference.fusion: Labelled=FusionInputs choose_fusion=fit_fusion_weights
og_reid.fusion_run -> og_reid.inference.fusion_file: check_unknown=check_disjoint_identities
og_reid.fusion_run -> og_reid.inference.fused_encoder: StoredFusion=FusedEncoder
og_reid.fusion_run -> og_reid.inference.pretrained: read_fusion=load_model
og_reid.lifting -> og_reid.data.clouds.lift_dataset: lift_split=lift_dataset
og_reid.losses.registered -> og_reid.losses.inputs: Loss
og_reid.matching -> og_reid.retrieval.similarity: weigh_cosines=visibility_weighted
og_reid.models -> og_reid.models.point_network: Embedder=PointNetwork
og_reid.models -> og_reid.models.registry: rebuild=from_spec settings_of=arch_parameters
    store=to_spec
og_reid.models.build -> og_reid.models.registry: rebuild=from_spec settings_of=arch_parameters
    store=to_spec
og_reid.models.continuous -> og_reid.models.soft_layers: abstract=soft_set_abstraction
    balls_around=soft_ball_neighbors carry=soft_ball_mean convolve=soft_edge_conv note=record_stage
    pool=soft_global_pool spacing_of=lattice_spacing
og_reid.models.described -> og_reid.models.spec_bounds: check_described=check_spec
og_reid.models.edge_conv: NeighborMix=MaxMeanMix
og_reid.models.embedder -> og_reid.models.point_network: Embedder=PointNetwork
og_reid.models.norm: share_norms=sync_batchnorm_layers
og_reid.models.pgfa_weights -> og_reid.models.resnet50: backbone_map imagenet_state
    initialize_backbone make_resnet50
og_reid.models.plain_weights -> og_reid.models.state_dict: with_counters
og_reid.models.plain_weights -> og_reid.files.snapshot: plain_weights=unwrap_state_dict
og_reid.models.undrawn -> og_reid.models.init: Undrawn=SkipInit
    drawn_by_generator=init_from_generator
og_reid.objective -> og_reid.losses.objective: Objective=CombinedLoss
    nearest_accuracy=batch_knn_accuracy
og_reid.objective -> og_reid.losses.config: LossConfig
og_reid.ops -> og_reid.ops.topk: Nearest=TopK select_nearest=merge_topk
    select_nearest_torch=merge_topk_torch
og_reid.ops -> og_reid.ops.rank_counts: Thresholds=RankThresholds count_wrong=count_closer
    count_wrong_torch=count_closer_torch
og_reid.ops.counting -> og_reid.ops.rank_counts: Thresholds=RankThresholds count_wrong=count_closer
    count_wrong_torch=count_closer_torch
og_reid.ops.faded -> og_reid.ops.soft_pool: faded_mean=soft_mean faded_mean_torch=soft_mean_torch
    faded_moments=soft_moments faded_moments_torch=soft_moments_torch faded_pool=soft_pool
    faded_pool_torch=soft_pool_torch
og_reid.ops.faded_gate -> og_reid.ops.soft_gated_pool: faded_gated_max=soft_gated_max
    faded_gated_max_torch=soft_gated_max_torch
og_reid.ops.fading -> og_reid.ops.soft_neighbors: FLOOR=MIN_DISTANCE FadingNeighbors=SoftNeighbors
    GAIN=TAPER WIDEST=MAX_REACH fading_balls=soft_ball_graph fading_graph=soft_knn_graph
    present_balls=masked_ball_graph present_graph=masked_knn_graph
og_reid.ops.indices -> og_reid.ops.neighbor_index: InEdges=CSR check_present=check_index
    in_edges=edges_csr
og_reid.ops.moments -> og_reid.ops.edge_moments: sharing_moments=sync_batchnorm
og_reid.ops.nearest -> og_reid.ops.topk: Nearest=TopK select_nearest=merge_topk
    select_nearest_torch=merge_topk_torch
og_reid.ops.patches -> og_reid.ops._torch.knn_patches: takes_patches=patches_apply
og_reid.paired -> og_reid.evaluation.paired: left_out=unpaired
og_reid.progress -> og_reid.files.printable: CONTROLS escaped=escape_match shown=printable
og_reid.progress -> og_reid.pipelines.forecast: Forecast in_words=format_duration
og_reid.provenance -> og_reid.inference.provenance: checked_origin=checked_provenance
    origin=run_provenance
og_reid.report -> og_reid.viz.html_report: Picture=ReportImage
og_reid.rerank: Reranked=LazyDistances gnn=gnn_rerank penalise_direction=penalise_same_direction
    penalise_equal=penalise_same_camera
og_reid.rerank.gnn -> og_reid.rerank.graph: gnn=gnn_rerank
og_reid.rerank.metadata -> og_reid.retrieval.clustering: cluster cluster_means
og_reid.rerank.metadata: penalise_direction=penalise_same_direction
    penalise_equal=penalise_same_camera
og_reid.rerank.space: Space=JointSpace
og_reid.schedule -> og_reid.train.schedule: Clock=BudgetTimer Timetable=Schedule
    loss_scale=warmup_loss_scale
og_reid.schedule -> og_reid.train.weight_averaging: MovingAverage=EMA WeightAverage=SWA
    estimate_norms=update_bn
og_reid.schedule -> og_reid.train.optimizer: build_optimizer
og_reid.slicing -> og_reid.evaluation.query_slices: Searched=LabelledImages
og_reid.strict -> og_reid.config.load: config_folder find_config
og_reid.train: Outcome=StepOutput PeopleTask=ImageTask Record=StepLog
    check_unused=check_empty_run_dir first_goes_first=main_process_first
    join_processes=init_distributed
og_reid.train.ahead -> og_reid.train.prefetch: Ahead=Prefetcher
og_reid.train.folder -> og_reid.train.run_folder: USED=RUN_EXISTS check_unused=check_empty_run_dir
    differences=diff_config
og_reid.train.interrupt: until_interrupted=catch_sigint
og_reid.train.people -> og_reid.train.image_task: PeopleTask=ImageTask
    build_photo_network=build_image_network people_metrics=image_metrics photo_parts=stripe_counts
og_reid.train.processes -> og_reid.train.distributed: Processes=DistInfo
    first_goes_first=main_process_first join_processes=init_distributed join_rows=all_gather_rows
    present_processes=get_dist_info told_apart=reraise_peer_failure
    told_by_first=broadcast_from_main
og_reid.train.record -> og_reid.train.run_log: Record=StepLog RunLog=CSVLogger tell=write_scalars
og_reid.train.sampling -> og_reid.train.samplers: share_rows=check_rank_rows
    tell_epochs=describe_sampling
og_reid.train.step: seeded=fork_rng
og_reid.train.task: Outcome=StepOutput label_people=relabel whole_group=single_param_group
og_reid.visualize -> og_reid.viz.ranking: Ranking ranking_figure sheet_figure
og_reid.visualize -> og_reid.viz.curves: curves_figure
og_reid.visualize -> og_reid.viz.lift: lift_figure
og_reid.visualize -> og_reid.viz.viewing: view
meshes.body -> meshes.body.model: BodyModel BodyPose SMPL_JOINTS SMPL_PARENTS
meshes.body -> meshes.body.load: load_body
meshes.color: keypoint_evidence=part_evidence view_body=project_body
meshes.world.chance -> meshes.world.rng: Chance=Rng
meshes.world.occluders -> meshes.world.scenery.occluders: moved=translated stranger=bystander
meshes.world.pieces -> meshes.world.surfaces.pieces: Piece=MeshPart
meshes.world.sensor -> meshes.world.imaging.sensor: develop=apply_sensor
meshes.world.shade -> meshes.world.imaging.shading: Hits=Hit shoot=cast_rays
meshes.world.tailor -> meshes.world.people.clothing: dress=build_outfit
pose.atomic -> pose.files.atomic_write: replacing=atomic_write
pose.estimator -> pose.estimators.base: checked_image=validate_image
pose.json_fields -> pose.formats.json_fields: number=read_number rows=read_rows
    scored_rows=read_scored_rows
"""
# Attributes and methods of classes, by present paths; fields are keyword arguments, too.
MEMBERS = """
meshes.fitting.residuals.FitState: moved=updated
meshes.world.people.clothing.Outfit: who=identity
meshes.world.people.figure.Figure: who=identity
meshes.world.people.skin_textures.ShoePaint: who=identity
meshes.world.people.skin_textures.SkinPaint: who=identity
meshes.world.surfaces.primitives.Mesh: moved=transformed
og_reid.data.clouds.cloud_set.CloudSet: layout=point_order
og_reid.data.clouds.market3d.ReferenceClouds: layout=point_order
og_reid.data.clouds.store.CloudStore: layout=point_order
og_reid.evaluation.metrics.Metrics: cmc_deviation=cmc_std figures=summary rank_deviation=rank_std
og_reid.evaluation.verification.OpenSet: alarm_distance=false_alarm_distance
    identified_at=dir_at_far
og_reid.evaluation.verification.Verification: equal_error_rate=eer true_accepts_at=tar_at_far
og_reid.inference.cloud_encoder.CloudEncoder: origin=provenance
og_reid.inference.image_encoder.ImageEncoder: origin=provenance
og_reid.models.edge_conv.MaxMeanMix: share=ratio
og_reid.models.heads.StripeHeads: compared=inference_features
og_reid.models.stripe_net.StripeNet: compared=inference_features
og_reid.ops.lattice.Vertices: presence=weight
og_reid.retrieval.features.FeatureSource: unit=normalized
og_reid.retrieval.features.NormalizedFeatures: beside=to_device_of
og_reid.retrieval.labels.Labels: query_pids=query.identities gallery_pids=gallery.identities
    query_camids=query.cameras gallery_camids=gallery.cameras
og_reid.train.cloud_task.LabelledClouds: people=ids
og_reid.train.distributed.DistInfo: first=is_main world=world_size
og_reid.train.image_task.ImageTask: people=images
og_reid.train.schedule.Schedule: loss_scale=warmup_loss_scale
og_reid.train.step.Stepper: look=forward_only
og_reid.train.weight_averaging.EMA: shown=swapped_in
"""
# Keyword arguments of functions, by present paths.
KEYWORDS = """
meshes.world.imaging.camera.draw_light: chance=rng
meshes.world.imaging.sensor.apply_sensor: chance=rng
meshes.world.people.bags.carry_bag: who=identity
meshes.world.people.clothing.build_outfit: who=identity
meshes.world.people.figure.pose_figure: who=identity
meshes.world.people.poses.draw_motion: chance=rng who=identity
meshes.world.people.shoes.wear_shoes: who=identity
meshes.world.scenery.backdrop.draw_backdrop: chance=rng
meshes.world.scenery.occluders.bystander: chance=rng
meshes.world.scenery.occluders.place_occluder: chance=rng
meshes.world.scenery.street.board: chance=rng
meshes.world.scenery.street.column: chance=rng
meshes.world.scenery.street.fence: chance=rng
meshes.world.scenery.street.furniture: chance=rng
meshes.world.scenery.street.luggage: chance=rng
meshes.world.scenery.street.shrub: chance=rng
meshes.world.scenery.street.trunk: chance=rng
meshes.world.scenery.street.umbrella: chance=rng
meshes.world.scenery.vehicles.bicycle: chance=rng
meshes.world.scenery.vehicles.car: chance=rng
meshes.world.surfaces.palette.cloth_color: chance=rng
meshes.world.surfaces.palette.hair_color: chance=rng
meshes.world.surfaces.palette.random_fabric: chance=rng
meshes.world.surfaces.palette.skin_color: chance=rng
meshes.world.surfaces.palette.vivid_color: chance=rng
og_reid.api.embedding.embed: pointcloud=inputs
og_reid.data.clouds.market3d.subsample: share=fraction
og_reid.data.datasets.holdout.holdout_split: people=identities
og_reid.data.datasets.reader.differences: description=spec
og_reid.data.datasets.reader.find_folder: description=spec
og_reid.data.datasets.reader.find_root: description=spec
og_reid.data.datasets.reader.read_dataset: description=spec
og_reid.evaluation.metrics.Metrics.interval: figure=values
og_reid.evaluation.results.format_table: comparisons=rows
og_reid.evaluation.results.save_results: comparisons=rows
og_reid.inference.cloud_encoder.CloudEncoder.__init__: origin=provenance
og_reid.inference.extract.embed_images: people=images
og_reid.inference.fusion_file.check_disjoint_identities: origins=provenances
og_reid.inference.image_encoder.ImageEncoder.__init__: origin=provenance
og_reid.inference.model_file.save_weights: origin=provenance
og_reid.inference.pretrained.load_model: path=name_or_path folder=name_or_path
og_reid.inference.pretrained.save_network: model=network origin=provenance
og_reid.losses.objective.CombinedLoss.forward: people=ids
og_reid.models.point_network.PointNetwork.classify: descriptor=embedding
og_reid.models.soft_layers.record_stage: places=centers
og_reid.models.soft_layers.soft_edge_conv: presence=point_weight
og_reid.models.soft_layers.soft_global_pool: presence=point_weight
og_reid.models.spec_bounds.check_spec: described=spec
og_reid.ops.soft_gated_pool.soft_gated_max: fade=edge_weight share=moment_weight
og_reid.ops.soft_gated_pool.soft_gated_max_torch: fade=edge_weight share=moment_weight
og_reid.ops.soft_neighbors.masked_ball_graph: presence=weight
og_reid.ops.soft_neighbors.masked_knn_graph: presence=weight
og_reid.train.run_folder.check_settings: origin=provenance
og_reid.train.weight_averaging.update_bn: looks=passes
"""
